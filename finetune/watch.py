"""Whether the consents of a running job still hold, asked again and again while it runs.

Promise: no step begins unless, within the last 10 seconds and the last 20 steps, the chain was asked at its newest
block and answered for every consent. A chain that does not answer for that long stops the job: unknown means no. What
ended once never comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from consent.market.granting import status
from consent.market.liveness import live, pair_of
from consent.market.place import Market
from consent.validity import TokenStatus, check_token
from core.errors import AllodError, Unavailable
from core.ids import Address, ConsentId
from finetune.licence import Licence

STEPS = 20
SECONDS = 10.0

Look = Callable[[], Mapping[ConsentId, str]]
"""Asks for every consent now: those that ended, with the reason. `Unavailable` if it cannot tell."""


@dataclass(frozen=True)
class Pace:
    """The most steps and seconds that may lie between a step and the last answer in front of it."""

    steps: int = STEPS
    seconds: float = SECONDS


class Watch:
    """Asks at half the pace, so that one unanswered question does not stop a job yet."""

    def __init__(self, look: Look, pace: Pace | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._pace = pace or Pace()
        self._clock = clock
        self._steps = 0
        self._asked: float | None = None
        self.ended: dict[ConsentId, str] = {}
        self.checks = 0

    def before_step(self) -> dict[ConsentId, str]:
        """Call before each step: the consents that ended since the last call, with their reasons.

        `Unavailable` if nothing is known for longer than the pace allows.
        """
        new = self.poll()
        self._steps += 1
        return new

    def poll(self) -> dict[ConsentId, str]:
        """The same between steps, while records are read."""
        now = self._clock()
        waited = None if self._asked is None else now - self._asked
        if waited is not None and waited < self._pace.seconds / 2 and self._steps < max(1, self._pace.steps // 2):
            return {}
        try:
            found = self._look()
            while 0 < self._pace.seconds < self._clock() - now:  # it waited for an endpoint that was away: ask anew
                now = self._clock()
                found = self._look()
        except AllodError as error:
            if waited is None or waited >= self._pace.seconds or self._steps >= self._pace.steps:
                raise Unavailable(
                    "The chain does not say whether the consents of this job still hold, so training stops.",
                    hint="Run the job again once the chain answers; what was paid in stays locked until then.",
                ) from error
            return {}
        self.checks += 1
        # The time of the question, not of the answer: what is revoked while it travels counts as unknown.
        self._asked, self._steps = now, 0
        new = {consent: reason for consent, reason in found.items() if consent not in self.ended}
        self.ended.update(new)
        return new


def chain_look(
    market: Market,
    licences: Mapping[ConsentId, Licence],
    holder: Address,
    counted: Sequence[ConsentId],
    *,
    clock: Callable[[], float] = time.time,
) -> Look:
    """A `Look` at the newest block, by block time and by this machine's clock; one call asks for 5,000 tokens."""
    ids = list(licences)
    pairs = [pair_of(market, licence.consent, holder) for licence in licences.values()]

    def look() -> dict[ConsentId, str]:
        latest = market.chain.block("latest")
        now = max(latest.timestamp, int(clock()))
        alive = live(market, pairs, latest.hash)
        ended = {}
        for consent_id, lives in zip(ids, alive, strict=True):
            licence = licences[consent_id]
            reasons = []
            if not lives or now >= min(licence.consent.expiry, licence.terms.expiry):
                found = status(market, licence.consent, holder, latest.hash)
                reasons = check_token([-1 if found is None else found], counted=consent_id in counted)
                if not reasons and now >= min(licence.consent.expiry, licence.terms.expiry):
                    reasons = check_token([TokenStatus.EXPIRED], counted=False)
            if reasons:
                ended[consent_id] = reasons[0]
        return ended

    return look
