"""Connections to PostgreSQL that copy rows while the caller goes on."""

import io
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from psycopg2 import extensions


class BackgroundConnection(extensions.connection):
    """A connection whose next use waits for the rows that it copies in the background.

    This holds for new cursors and for the end of the transaction, but not for cursors that are open already.
    """

    _copying: Future[None] | None = None

    def copy_in_background(self, statement: str, lines: Iterable[str]) -> None:
        """Begin COPY … FROM STDIN. The next use of the connection raises the exception if it fails."""
        text = "".join(lines).encode()
        cursor = self.cursor()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy")
        # The driver sends the text as a whole: before each piece, the thread would wait for the interpreter.
        self._copying = executor.submit(cursor.copy_expert, statement, io.BytesIO(text), len(text))
        executor.shutdown(wait=False)

    def _wait_for_copy(self) -> None:
        """Wait for the rows that are copied in the background."""
        if self._copying is None:
            return
        # If a signal interrupts it, the end of the transaction waits again.
        wait((self._copying,))
        copied, self._copying = self._copying, None
        copied.result()

    def cursor(self, *args: Any, **options: Any) -> Any:
        """Return a new cursor."""
        self._wait_for_copy()
        return super().cursor(*args, **options)

    def commit(self) -> None:
        """Commit the transaction."""
        self._wait_for_copy()
        super().commit()

    def rollback(self) -> None:
        """Roll the transaction back. Then it does not matter whether the rows were copied."""
        with suppress(Exception):
            self._wait_for_copy()
        super().rollback()
