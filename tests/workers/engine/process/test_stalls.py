import asyncio
import time

from workers.engine.process.stalls import BEAT_SECONDS, StallMeter


def test_a_loop_that_stands_still_is_measured() -> None:
    async def main() -> None:
        meter = StallMeter()
        await asyncio.sleep(5 * BEAT_SECONDS)
        meter.take()
        time.sleep(0.15)  # noqa: ASYNC251 - that is the point
        await asyncio.sleep(2 * BEAT_SECONDS)
        idle = meter.take()
        assert idle.stall >= 120
        assert idle.busy < 60
        until = time.thread_time() + 0.15
        while time.thread_time() < until:
            pass
        await asyncio.sleep(2 * BEAT_SECONDS)
        assert meter.take().busy >= 120
        meter.close()
        await asyncio.sleep(2 * BEAT_SECONDS)
        assert meter.take() == (0, 0)

    asyncio.run(main())
