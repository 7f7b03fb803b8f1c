from __future__ import annotations

import pytest

from hypercore.dht.address import Address
from hypercore.dht.sessions import TRANSITIONS, SessionTable, Stage, Step
from hypercore.errors import LocalProtocolError


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("step", Step)
def test_a_handshake_does_what_its_table_says_and_nothing_else(stage: Stage, step: Step) -> None:
    table = SessionTable()
    session = table.add(b"noise", Address("10.0.0.1", 1), "10.0.0.2", direct=False)
    session.stage = stage

    def do() -> None:
        if step is Step.EXPECT:
            table.expect(session)
        else:
            table.end(session, step)

    if (stage, step) in TRANSITIONS:
        do()
        assert session.stage is TRANSITIONS[stage, step]
        assert table.awaited == (session.stage is Stage.AWAITED)
    else:
        with pytest.raises(LocalProtocolError, match=stage.value):
            do()
        assert session.stage is stage
        assert table.get(b"noise") is session and table.awaited == 0
