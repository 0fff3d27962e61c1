"""A pickle read as data: objects become inert parts, tensors become `StoredTensor`s, and nothing is run.

Python's unpickler imports and calls whatever a file names. This reader is a small stack machine over the
instructions that `pickletools` decodes. It cannot import, call or set an attribute: a class is a `Name`, an
object is a `Part` that holds what it was made from, and only what `build` knows (torch's tensors) becomes
something else. So a whole pickled model is read like a state_dict, and a program's hyperparameters beside it
do no harm.

A pickle is a list of instructions for a stack. `{"a": [1, 2]}` is, with the stack after each instruction:

    EMPTY_DICT     {}
    UNICODE a      {} "a"
    EMPTY_LIST     {} "a" []
    MARK           {} "a" [] |          the mark: what follows belongs together
    BININT1 1      {} "a" [] | 1
    BININT1 2      {} "a" [] | 1 2
    APPENDS        {} "a" [1, 2]        all above the mark into the list below it
    SETITEM        {"a": [1, 2]}
    STOP
"""

import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from cxr.weights.errors import WeightsError, visible

_MAX_STEPS = 2_000_000  # a DenseNet-201 with its optimiser takes 150,000
_DAMAGED = "is damaged: its pickle cannot be read"

_HARMLESS = {
    "__builtin__", "_codecs", "argparse", "array", "builtins", "collections", "copy_reg", "copyreg",
    "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "logging", "numbers", "pathlib",
    "random", "re", "threading", "time", "types", "typing", "uuid",
}  # fmt: skip
"""Modules of Python that hyperparameters and counters come from."""
_RUNS_CODE = {
    "__import__", "apply", "breakpoint", "compile", "eval", "exec", "execfile", "file", "input", "open",
}  # fmt: skip
"""Functions of `builtins` that run code or open files."""


class Name(NamedTuple):
    """A class or a function that the file names; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return visible(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Part:
    """Stands for an object of the file: what it was made from, its state, and a container's entries."""

    kind: object
    arguments: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] = field(default_factory=dict)
    entries: list[object] = field(default_factory=list)


Build = Callable[[Name, tuple[Any, ...]], object]
"""What a call of a name gives; NotImplemented where it is nothing special."""
Refer = Callable[[object], object]
"""What a persistent id refers to: the storage of a tensor."""


def read_pickle(file: IO[bytes], build: Build, refer: Refer) -> Any:  # noqa: ANN401  whatever the file holds
    """The object of one pickle; the file then stands behind it.

    Raises:
        WeightsError: It is damaged, endless, or asks for something that is no part of a model.
    """
    machine = _Machine(build, refer)
    try:
        # genops decodes one instruction after the other up to STOP, and runs nothing
        for step, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if step == _MAX_STEPS:  # hostile: a small file may ask for endless work
                raise WeightsError("holds more than any model does", "give a file of weights alone")
            machine.run(instruction.name, argument)
        return machine.result
    except WeightsError:
        raise
    # a damaged pickle fails anywhere: an empty stack, a key that is a list, bytes that are no text
    except Exception:
        raise WeightsError(_DAMAGED) from None


def _check_name(name: Name) -> Name:
    """The name, unless it is of a module of Python that no model needs: such a file would run code elsewhere.

    Nothing would run here either way; the user learns that the file is dangerous.
    """
    module = name.module.partition(".")[0]
    runs_code = module in ("builtins", "__builtin__") and name.name.partition(".")[0] in _RUNS_CODE
    # os.system is pickled as posix.system, or nt.system on Windows
    is_python = module in sys.stdlib_module_names or module in ("nt", "posix")
    if runs_code or (is_python and module not in _HARMLESS):
        hint = "nothing in it was run; ask its author for a file of the state_dict alone"
        raise WeightsError(f"asks for {name}, which is no part of a model", hint)
    return name


def _call(build: Build, kind: object, arguments: object) -> object:
    """A container, a StoredTensor or an inert part in place of the result of a call, which is not made."""
    given = arguments if isinstance(arguments, tuple) else ()
    # 1. what is called is itself a part, such as a functools.partial
    if not isinstance(kind, Name):
        return Part(kind, given)
    # 2. copyreg._reconstructor(class, arguments ...) of the first protocols: as a call of the class
    if kind.module in ("copyreg", "copy_reg") and given:
        return _call(build, given[0], given[1:])
    # 3. containers, whose entries may come as an argument or by later instructions
    if kind in (("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict")):
        pairs = given[0] if given and isinstance(given[0], list) else []
        items: dict[object, object] = {}
        for key, value in pairs:
            _set_item(items, key, value)
        return items
    if kind.module in ("builtins", "__builtin__") and kind.name in ("set", "frozenset", "list", "tuple"):
        return list(given[0]) if given and isinstance(given[0], list | tuple) else []
    # 4. torch's functions that rebuild a tensor; anything else stays inert
    built = build(kind, given)
    return Part(kind, given) if built is NotImplemented else built


def _set_item(target: object, key: object, value: object) -> None:
    """Put an entry into a dict, or into a part that stands for an object with entries."""
    items = target.items if isinstance(target, Part) else target
    if not isinstance(items, dict):
        raise WeightsError(_DAMAGED)
    # a tuple as a key is not hashed: one of a million levels would end the process by a stack overflow; and a
    # number of a million digits takes too long. Such an entry is kept under a new key, as it may hold tensors
    is_short = isinstance(key, str | bool | float | bytes | None) or (
        isinstance(key, int) and abs(key) < 1 << 60
    )
    items[key if is_short or isinstance(key, Part) else object()] = value


def _extend(target: object, values: list[object]) -> None:
    """Put values into a list or a set, or into a part that stands for an object with entries."""
    entries = target.entries if isinstance(target, Part) else target
    if not isinstance(entries, list):
        raise WeightsError(_DAMAGED)
    entries.extend(values)


class _Machine:
    """The stack, the memo, and what each instruction does to them.

    A mark sets the stack aside in `_below` and begins an empty one; what needs the mark takes all of that one
    and gets the stack below it back. The memo keeps objects that are used again, such as a tensor that two
    layers share.
    """

    def __init__(self, build: Build, refer: Refer) -> None:
        self.result: object = None
        self._build, self._refer = build, refer
        self._stack: list[Any] = []  # above the last mark
        self._below: list[list[Any]] = []  # below each mark, the outermost first
        self._memo: dict[int, object] = {}

    def run(self, name: str, argument: Any) -> None:  # noqa: ANN401  what pickletools decodes
        """Carry out one instruction."""
        if name in _CONSTANTS:  # the argument is the value
            self._stack.append(argument)
        elif name in _NEW:
            self._stack.append(_NEW[name]())
        elif name in _TUPLES:  # of the last one, two or three values, the last of which is on top
            num = _TUPLES[name]
            values = [self._pop() for _ in range(num)]
            self._stack.append(tuple(reversed(values)))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in ("PROTO", "FRAME"):  # the version of the format, and sizes for reading ahead
            pass
        else:
            self._do(name, argument)

    def _do(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """The instructions about marks, lists and dicts."""
        pop, stack = self._pop, self._stack
        match name:
            case "MARK":
                self._below.append(stack)
                self._stack = []
            case "MEMOIZE":  # under the next number
                self._memo[len(self._memo)] = stack[-1]
            case "DUP":
                stack.append(stack[-1])
            case "POP":
                pop()
            case "POP_MARK":
                self._pop_mark()
            case "STOP":
                self.result = pop()
            case "LIST" | "FROZENSET":  # a set becomes a list: its members may not be hashable here
                self._push(self._pop_mark())
            case "TUPLE":
                self._push(tuple(self._pop_mark()))
            case "DICT":
                values = self._pop_mark()
                self._push({})
                self._set_items(values)
            case "APPEND":
                value = pop()
                _extend(stack[-1], [value])
            case "APPENDS" | "ADDITEMS":
                values = self._pop_mark()
                _extend(self._stack[-1], values)
            case "SETITEM":
                value, key = pop(), pop()
                _set_item(stack[-1], key, value)
            case "SETITEMS":
                self._set_items(self._pop_mark())
            case _:
                self._make(name, argument)

    def _make(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """The instructions with which Python's unpickler imports, calls and sets attributes."""
        pop = self._pop
        match name:
            case "GLOBAL":  # "module attribute": an import
                self._push(_check_name(Name(*argument.split(" ", 1))))
            case "STACK_GLOBAL":  # the same with both words on the stack
                attribute, module = str(pop()), str(pop())
                self._push(_check_name(Name(module, attribute)))
            case "REDUCE" | "NEWOBJ":  # function(*arguments), or class.__new__(class, *arguments)
                arguments, kind = pop(), pop()
                self._push(_call(self._build, kind, arguments))
            case "NEWOBJ_EX":  # the same with keyword arguments
                options, arguments, kind = pop(), pop(), pop()
                self._push(Part(kind, (arguments, options)))
            case "OBJ":  # class(*arguments) of the first protocols, all above a mark
                kind, *values = self._pop_mark()
                self._push(Part(kind, tuple(values)))
            case "INST":  # the same with the class named by the instruction
                kind = _check_name(Name(*argument.split(" ", 1)))
                self._push(Part(kind, tuple(self._pop_mark())))
            case "BUILD":  # object.__setstate__(state); a dict or a tensor has no state for us
                state = pop()
                if isinstance(self._stack[-1], Part):
                    self._stack[-1].state = state
            case "BINPERSID":  # torch's reference to a storage
                self._push(self._refer(pop()))
            case _:  # PERSID, extension registers, buffers outside the pickle: torch.save uses none of them
                raise WeightsError(_DAMAGED)

    def _pop(self) -> Any:  # noqa: ANN401
        return self._stack.pop()

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop_mark(self) -> list[Any]:
        """All values above the last mark; the stack below it is back."""
        values, self._stack = self._stack, self._below.pop()
        return values

    def _set_items(self, values: list[Any]) -> None:
        """Put key, value, key, value ... into the dict on top of the stack."""
        for key, value in zip(values[::2], values[1::2], strict=True):
            _set_item(self._stack[-1], key, value)


_CONSTANTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
"""Instructions that push their own argument."""
_NEW: dict[str, Callable[[], object]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list,
    "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
}  # fmt: skip
"""Instructions that push something new."""
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
