"""Orders of clients, rebuilt from their requests, so that nothing but plain values and uploaded files comes through."""

import re
from collections.abc import Collection
from typing import Any

from vqkit.serve.folder import PrivateFolder

__all__ = ["WORD", "RefusedError", "rebuilt_order"]

WORD = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Names of sessions and the like."""

_MOST_INPUTS = 8
_MOST_TEXT = 1000  # characters of an input
_HIGHEST_NUMBER = 10**6


class RefusedError(Exception):
    """Error of a request that is not served; the message is a line for its sender.

    Args:
        status: Status code of HTTP.
        line: The message.
    """

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def rebuilt_order(data: Any, folder: PrivateFolder, jobs: Collection[str | int] | None = None) -> dict[str, Any]:
    """Build an order for gradio's queue anew, so that whatever else a client wrote is gone.

    Args:
        data: What the client sent, of any form.
        folder: Folder of the uploads; in ``data`` they have their public names, in the order their paths.
        jobs: Numbers of the page's jobs, one of which ``data`` must name; None if the address of the request has named it.

    Returns:
        The inputs, the session, and the numbers of the job and of what triggered it.

    Raises:
        RefusedError: It is of another form, or an input is neither a plain value nor a file that was uploaded.
    """
    if not isinstance(data, dict) or not isinstance(data.get("data"), list) or len(data["data"]) > _MOST_INPUTS:
        raise RefusedError(422, "an object with a list of inputs called data is expected")
    order: dict[str, Any] = {"data": [_input(value, folder) for value in data["data"]]}
    session = data.get("session_hash")
    if session is not None:
        if not isinstance(session, str) or not WORD.fullmatch(session):
            raise RefusedError(422, "session_hash must be a word of at most 128 letters and digits")
        order["session_hash"] = session
    if jobs is not None:
        for key in ("fn_index", "trigger_id"):
            number = data.get(key)
            if number is not None and (type(number) is not int or abs(number) > _HIGHEST_NUMBER):
                raise RefusedError(422, f"{key} must be a number of the page")
            order[key] = number
        if order["fn_index"] not in jobs or session is None:
            raise RefusedError(422, "fn_index must be a number of the page, and session_hash given")
    return order


def _input(value: Any, folder: PrivateFolder) -> Any:
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _MOST_TEXT):
        return value
    path = value.get("path") if isinstance(value, dict) else None
    found = folder.upload(path) if isinstance(path, str) else None
    if found is None:
        raise RefusedError(422, "an input is neither a plain value nor a file that was uploaded here: drop it again")
    return {"path": str(found), "meta": {"_type": "gradio.FileData"}}
