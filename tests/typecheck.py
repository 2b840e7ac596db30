"""What the tests put behind annotations: one check of types by beartype, in which jaxtyping binds the names of shapes.

jaxtyping's own decorator binds them in every function, and checks each argument twice, which took half of the tests'
time. Here only functions that have a shape bind names. One within another, which is made anew with every call of that
one, is checked where it has a shape, by a check that is made once. An int is a float, as PEP 484 has it.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from types import CodeType, SimpleNamespace
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

names_of_shapes = jaxtyping.jaxtyped
"""Within ``names_of_shapes("context")`` each name in a shape is one size."""

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

inner: ContextVar[Callable] = ContextVar("inner")
"""The function within another one that is called now."""

nested: dict[CodeType, Callable | None] = {}
"""The checks of functions within others, by their code; none where they have no shape."""


def jaxtyped(*, typechecker: Callable) -> Callable:
    """In place of jaxtyping's decorator, which its import hook puts before every function and class."""
    return checked


def checked(one: Any) -> Any:
    """A function with its checks, or a class whose ``__init__`` has them where it is a dataclass."""
    if not inspect.isclass(one):
        return of_nested(one) if "<locals>" in one.__qualname__ else of_function(one)
    if dataclasses.is_dataclass(one) and "__init__" in vars(one):
        one.__init__ = of_function(one.__init__)
    return one


def of_function(one: Callable) -> Callable:
    """A function with its checks."""
    resolve_annotations(one)
    if inspect.isgeneratorfunction(one) and has_shape(one):
        return of_nested(one)  # whose arguments are checked as it is called, and not as it begins
    call = check(one)
    if not has_shape(one):
        return call

    @wraps(one)
    def call_with_shapes(*given: Any, **options: Any) -> Any:
        with names_of_shapes("context"):
            return call(*given, **options)

    return call_with_shapes


def of_nested(one: Callable) -> Callable:
    """A function within another one, with its checks where it has a shape."""
    if one.__code__ not in nested:
        resolve_annotations(one)
        nested[one.__code__] = of_function(calling_inner(one)) if has_shape(one) else None
    call = nested[one.__code__]
    if call is None:
        return one

    @wraps(one)
    def call_this(*given: Any, **options: Any) -> Any:
        before = inner.set(one)
        try:
            return call(*given, **options)
        finally:
            inner.reset(before)

    return call_this


def calling_inner(like: Callable) -> Callable:
    """What calls the function within another one that is called now, with the signature of this one."""

    @wraps(like)
    def call(*given: Any, **options: Any) -> Any:
        return inner.get()(*given, **options)

    return call


def resolve_annotations(one: Callable) -> None:
    """Replace annotations that are text; one that names what is not there yet admits anything."""
    one.__annotations__ = {name: resolved(text, one.__globals__) for name, text in one.__annotations__.items()}


def resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """What an annotation says, by the names of its module."""
    try:
        return typing.get_type_hints(SimpleNamespace(__annotations__={"": annotation}), names, include_extras=True)[""]
    except Exception:  # of any kind: an annotation may be any expression
        return Any


def has_shape(one: Callable) -> bool:
    """Whether an annotation holds the shape of an array."""
    return any(map(holds_shape, one.__annotations__.values()))


def holds_shape(annotation: Any) -> bool:
    """Whether an annotation, or a part of it, is the shape of an array."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(holds_shape, typing.get_args(annotation)))
