"""Hashes by which a checkpoint recognises patients and images, with the key in CXR_PATIENT_KEY if set.

They are SHA-256, or HMAC-SHA-256 with the key. Without a key a hash hides no name that can be guessed: all
ids of ChestX-ray14 are tried in less than a second. With a key, only those who have it can try names.
docs/privacy.md says what follows from that.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from cxr.errors import CxrError

VARIABLE = "CXR_PATIENT_KEY"
MAKE_KEY = "python -c 'import secrets; print(secrets.token_hex(32))' makes one"
_MIN_KEY_BYTES = 16  # whoever has a checkpoint can try all shorter keys


@dataclass(frozen=True)
class Hasher:
    """Makes the hashes; `secret` is empty where there is no key."""

    secret: bytes = field(default=b"", repr=False)

    @property
    def key_id(self) -> str:
        """Eight hex digits that tell keys apart and reveal nothing else about them; empty without a key."""
        if not self.secret:
            return ""
        # of a fixed text, so that it says nothing of any patient
        return hmac.digest(self.secret, b"cxr patient key", "sha256").hex()[:8]

    @property
    def is_weak(self) -> bool:
        """Whether the key is so short that it can be guessed."""
        return 0 < len(self.secret) < _MIN_KEY_BYTES

    def digest(self, text: str) -> bytes:
        """32 bytes, the same for the same text and key."""
        data = text.encode("utf-8", "surrogateescape")
        if self.secret:
            return hmac.digest(self.secret, data, "sha256")
        return hashlib.sha256(data).digest()


NO_KEY = Hasher()


def hasher_from_environment() -> Hasher:
    """The hasher with the key in CXR_PATIENT_KEY; NO_KEY where it is not set.

    Raises:
        CxrError: It is set and empty, as where a secret is missing.
    """
    key = os.environ.get(VARIABLE)
    if key is None:
        return NO_KEY
    if not key.strip():
        raise CxrError(f"{VARIABLE}: is set and empty", f"unset {VARIABLE}, or give it a key: {MAKE_KEY}")
    return Hasher(key.strip().encode("utf-8", "surrogateescape"))


def find_hasher(key_id: str) -> Hasher | None:
    """The hasher of hashes with this key id: NO_KEY, or that of CXR_PATIENT_KEY; None of another key."""
    if not key_id:
        return NO_KEY
    hasher = hasher_from_environment()
    return hasher if hasher.key_id == key_id else None
