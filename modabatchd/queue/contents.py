"""What a submission has brought, looked at once all of it is there.  Blocking; knows nothing of Twisted."""

from __future__ import annotations

import msgspec

from modabatchd.errors import BundleError, FieldError
from modabatchd.queue import parameters
from modabatchd.queue.bundle import BundleLimits, inspect
from modabatchd.queue.indices import Indices, Stride
from modabatchd.queue.interfaces import IDraft


class Contents(msgspec.Struct, frozen=True):
    """
    What there is beside the bundle.

    @ivar rows: how many rows the parameters have, if there are any.
    @ivar parameters: the file with them for the node.
    """

    has_input: bool
    rows: int | None = None
    parameters: bytes | None = None


def examine(draft: IDraft, limits: BundleLimits) -> Contents:
    """
    Check the bundle, and read the parameters.

    @raise BundleError: the bundle breaks a rule.
    @raise FieldError: the parameters do.
    """
    if not draft.holds("bundle.tar.gz"):
        raise BundleError("missing", "The request has no job-bundle.", "Send one: 'curl -F job-bundle=@job.tar.gz URL'.")
    with draft.read("bundle.tar.gz") as packed:
        inspect(packed, limits)
    has_input = draft.holds("input")
    table = _table(draft)
    return Contents(has_input, *parameters.rows_of_parameters(table)) if table else Contents(has_input)


def _table(draft: IDraft) -> bytes:
    """The parameters; a file that is sent empty counts as not sent, as with all fields."""
    if not draft.holds("parameters"):
        return b""
    with draft.read("parameters") as table:
        return table.read(parameters.LARGEST + 1)


def indices(wanted: Indices | None, rows: int | None, most: int) -> Indices | None:
    """
    The indices of the tasks; L{None} for a job that is no array.

    @param wanted: those that were asked for; without them, there is one task for each row.
    @param most: how many an array may have.
    @raise FieldError: there are too many, or not so many rows.
    """
    if wanted is None and rows is not None:
        wanted = Indices((Stride(1, rows),))
    if wanted is None:
        return None
    if rows is not None and not (wanted.first >= 1 and wanted.last <= rows):
        cause = f"job-array goes from {wanted.first} to {wanted.last}, and job-parameters has {rows} rows, numbered from 1."
        raise FieldError("job-array", cause, "Ask for rows that are there, or leave job-array out for all of them.")
    if wanted.count > most:
        cause = f"The job array has {wanted.count} tasks, and this service takes {most} at the most."
        raise FieldError("job-array", cause, "Submit several arrays, or have the operator raise queue.max_array_size.")
    return wanted
