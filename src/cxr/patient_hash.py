"""Hashes by which a checkpoint recognises patients and images, made with the key in CXR_PATIENT_KEY where there is one.

They are SHA-256, or HMAC-SHA-256 with the key. Without a key a hash hides no name that can be guessed: all ids of
ChestX-ray14 are tried in less than a second. With a key nobody can try any name who does not have the key.
docs/privacy.md says what follows from that.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from cxr.errors import CxrError

VARIABLE = "CXR_PATIENT_KEY"
MAKE_KEY = "python -c 'import secrets; print(secrets.token_hex(32))' makes one"
_SHORT = 16  # characters; whoever has a checkpoint can try all shorter words


@dataclass(frozen=True)
class Hasher:
    """Makes the hashes; `secret` is empty where there is no key."""

    secret: bytes = field(default=b"", repr=False)

    @property
    def key_id(self) -> str:
        """Eight hex digits that tell one key from another and say nothing else of it; empty without a key."""
        return hmac.digest(self.secret, b"cxr patient key", "sha256").hex()[:8] if self.secret else ""

    @property
    def is_weak(self) -> bool:
        """Whether the key is so short that it can be guessed."""
        return 0 < len(self.secret) < _SHORT

    def digest(self, text: str) -> bytes:
        """32 bytes, the same for the same text and key."""
        data = text.encode("utf-8", "surrogateescape")
        return hmac.digest(self.secret, data, "sha256") if self.secret else hashlib.sha256(data).digest()


NO_KEY = Hasher()


def hasher_from_environment() -> Hasher:
    """What CXR_PATIENT_KEY says; NO_KEY where it is not set.

    Raises:
        CxrError: It is set and empty, as where a secret is missing.
    """
    said = os.environ.get(VARIABLE)
    if said is None:
        return NO_KEY
    if not said.strip():
        raise CxrError(f"{VARIABLE}: is set and empty", f"unset {VARIABLE}, or give it a key: {MAKE_KEY}")
    return Hasher(said.strip().encode("utf-8", "surrogateescape"))


def find_hasher(key_id: str) -> Hasher | None:
    """What made the hashes that carry this key id: NO_KEY, or our own key; None where it was another key."""
    if not key_id:
        return NO_KEY
    own = hasher_from_environment()
    return own if own.key_id == key_id else None
