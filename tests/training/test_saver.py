import threading
import time
from pathlib import Path

import pytest
import torch

from cxr.errors import CxrError
from cxr.training.saver import Saver, copy_to_cpu


def fail() -> None:
    raise CxrError("last.pt: the disk is full", "free some space")


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_files_are_written_in_order_and_all_of_them_by_the_end(tmp_path: Path) -> None:
    with Saver() as saver:
        for name in "abcde":
            saver.save(lambda name=name: append(tmp_path / "names", name))  # type: ignore[misc]
    assert (tmp_path / "names").read_text() == "abcde"


def test_the_training_continues_while_a_file_is_written() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        assert may_end.wait(10)

    with Saver() as saver:
        saver.save(write)
        assert begun.wait(10)
        saver.check()  # neither waits nor fails while the write is under way
        may_end.set()


@pytest.mark.parametrize("ask", ["save", "wait", "check", "leave"])
def test_what_could_not_be_written_is_raised_by_the_next_call(ask: str) -> None:
    def use() -> None:
        with Saver() as saver:
            saver.save(fail)
            if ask == "save":
                saver.save(lambda: None)
            if ask == "wait":
                saver.wait()
            if ask == "check":
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    saver.check()

    with pytest.raises(CxrError, match="the disk is full"):
        use()


def test_an_error_of_the_training_is_not_hidden_by_one_of_a_save() -> None:
    with pytest.raises(ZeroDivisionError), Saver() as saver:
        saver.save(fail)
        _ = 1 / 0


def test_a_save_is_due_at_first_and_then_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Saver() as saver:
        assert saver.is_due()
        saver.save(lambda: None)
        now[0] += 59
        assert not saver.is_due()
        now[0] += 1
        assert saver.is_due()


def test_a_copy_of_a_state_does_not_change_with_it() -> None:
    weights, history = torch.ones(2), [{"loss": 1.0}]
    copy = copy_to_cpu({"model": {"w": weights}, "history": history, "step": 4})
    weights += 1
    history.append({"loss": 2.0})
    assert str(copy) == "{'model': {'w': tensor([1., 1.])}, 'history': [{'loss': 1.0}], 'step': 4}"
