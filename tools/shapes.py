"""The shapes of all messages between workers and control, as JSON Schema.

`python tools/shapes.py > tests/farmwire/released.json` when a version is released: tests compare it with the
shapes of the checkout, since a farm and its workers are not updated at the same moment.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from farmwire.assignment import AssignmentPage
from farmwire.audit import Answer, Challenge
from farmwire.envelope import Sealed
from farmwire.join import Join, JoinToken, Welcome
from farmwire.message import Message
from farmwire.report import Report
from farmwire.tasks import Configure, Refresh, Retire
from farmwire.traffic import Watch

SHAPES: Final[tuple[type[Message], ...]] = (
    Sealed, Join, Report, Answer, AssignmentPage, Challenge, Configure, JoinToken, Refresh, Retire, Watch,
    Welcome,
)  # fmt: skip
"""What is decoded of a message: envelopes, and what is in them."""


def shapes() -> dict[str, Any]:
    """`SHAPES`, and the shapes in them, by name. A `$ref` to one is `#/$defs/NAME`."""
    _, found = msgspec.json.schema_components(SHAPES, schema_hook=lambda _: {"$comment": "anything"})
    return found


if __name__ == "__main__":
    lines = [
        f"{json.dumps(name)}: {json.dumps(shape, sort_keys=True)}" for name, shape in sorted(shapes().items())
    ]
    print("{\n" + ",\n".join(lines) + "\n}")
