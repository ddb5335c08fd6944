"""Where an aggregate file is to go and where it has gone: what its delivery file remembers, and what follows."""

import datetime
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from msgspec import structs


class Receipt(msgspec.Struct, frozen=True):
    """That a payload was taken in: `answer` is what the service said."""

    url: str
    hash: str
    sent_at: str
    answer: str


class Attempt(NamedTuple):
    """How a file is to be sent, and whether an earlier attempt may have arrived.

    A correction takes the place of the payloads whose hashes or numbers are in `replaces`, or, if that is empty, of
    what the service finds. What is none is counted beside all others or, `alone`, only if there are no others for
    its days.
    """

    correction: bool
    may_have_arrived: bool
    replaces: tuple[str, ...] = ()
    alone: bool = False


class Dispatch(msgspec.Struct):
    """Where the payload with this hash is to go, and where this file has gone, in this or an earlier content.

    `attempted` has the hash that was sent to a URL whose answer is not known: it may have been taken in. A queued
    URL that has given a receipt gets a correction of what it has taken in last; those among `corrections` may have
    something of these days even if they have given none. `named` has the numbers that payloads have at a URL which
    this one is to replace as well.
    """

    hash: str
    queued: list[str] = []
    corrections: list[str] = []
    sent: list[Receipt] = []
    attempted: dict[str, str] = {}
    named: dict[str, list[int]] = {}

    def last_receipt(self, url: str | None) -> Receipt | None:
        """Give the receipt for what a service has taken in last."""
        return next((receipt for receipt in reversed(self.sent) if receipt.url == url), None)

    def in_force(self, url: str) -> str | None:
        """Give the hash of what a service has taken in last."""
        receipt = self.last_receipt(url)
        return None if receipt is None else receipt.hash

    def change_to(self, digest: str) -> None:
        """Let the file have another content; where that was delivered last, it need not go again."""
        if self.hash != digest:
            self._keep_queued([url for url in self.queued if self.in_force(url) != digest])
            self.hash = digest

    def queue(self, url: str, *, replace: bool, replaces: Sequence[int]) -> None:
        """Address it to a URL; the last word on what it replaces there is the one that holds."""
        # As long as the first delivery waits, only the file is replaced.
        correction = replace and (url not in self.queued or url in self.corrections)
        self._keep_queued([other for other in self.queued if other != url])
        self.queued = sorted([*self.queued, url])
        if correction:
            self.corrections.append(url)
        if replaces:
            self.named[url] = sorted(set(replaces))

    def move_to(self, url: str) -> None:
        """Address what is queued for any URL to this one."""
        wanted = url in self.queued or self.in_force(url) != self.hash
        # What was taken in, or may have been, was so by the service that is here now.
        self.sent = [
            structs.replace(receipt, url=url) if receipt.url in self.queued else receipt for receipt in self.sent
        ]
        correction = bool(self.corrections)
        # It may have given other numbers to its payloads.
        self._keep_queued([url])
        self.queued = [url] if wanted else []
        self.corrections = self.queued if correction else []
        if self.attempted:
            *_, sent = self.attempted.values()
            self.attempted = {url: sent}

    def attempt(self, url: str, *, one_of_several: bool) -> Attempt:
        """Note that it is being sent, whatever happens, and tell how.

        Args:
            url: where to.
            one_of_several: the node has several servers, so that others for these days may be theirs.
        """
        earlier = url in self.attempted
        self.attempted[url] = self.hash
        remembered = self.in_force(url)
        replaces = (*filter(None, [remembered]), *map(str, self.named.get(url, [])))
        correction = bool(replaces) or url in self.corrections
        alone = correction and not replaces and one_of_several
        return Attempt(correction and not alone, earlier, replaces, alone)

    def forget(self, url: str, unknown: Collection[str]) -> bool:
        """Forget receipts for payloads, by their hashes, that a service does not know; tell whether there were any.

        It may have something else of these days.
        """
        known = [receipt for receipt in self.sent if receipt.url != url or receipt.hash not in unknown]
        if len(known) == len(self.sent):
            return False
        self.sent = known
        self.corrections = sorted({*self.corrections, url})
        return True

    def deliver(self, url: str, answer: str, at: datetime.datetime) -> None:
        """Turn a queued URL into a receipt."""
        self._keep_queued([other for other in self.queued if other != url])
        self.attempted.pop(url, None)
        # One that is sent again and again is remembered once.
        others = [receipt for receipt in self.sent if (receipt.url, receipt.hash) != (url, self.hash)]
        self.sent = [*others, Receipt(url, self.hash, f"{at:%Y-%m-%dT%H:%M:%SZ}", answer)]

    def _keep_queued(self, urls: Collection[str]) -> None:
        """Let it not go to other URLs than these any more."""
        self.queued = [url for url in self.queued if url in urls]
        self.corrections = [url for url in self.corrections if url in urls]
        self.named = {url: numbers for url, numbers in self.named.items() if url in urls}
