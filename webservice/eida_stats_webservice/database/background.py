"""Connections to PostgreSQL that work while the caller goes on."""

import io
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from psycopg2 import extensions


class BackgroundConnection(extensions.connection):
    """A connection whose next use waits for the work in the background.

    This holds for new cursors and for the end of the transaction, but not for cursors that are open already.
    """

    _working: Future[None] | None = None
    _worker: int | None = None

    def run_in_background(self, work: Callable[[], None]) -> None:
        """Begin some work with this connection. The next use of the connection raises the exception if it fails."""
        self._wait()

        def run() -> None:
            self._worker = threading.get_ident()
            try:
                work()
            finally:
                self._worker = None

        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")
        self._working = executor.submit(run)
        executor.shutdown(wait=False)

    def copy_in_background(self, statement: str, lines: Iterable[str]) -> None:
        """Begin COPY … FROM STDIN. The next use of the connection raises the exception if it fails."""
        text = "".join(lines).encode()

        def copy() -> None:
            with self.cursor() as cursor:
                # The driver sends the text as a whole: before each piece, this would wait for the interpreter.
                cursor.copy_expert(statement, io.BytesIO(text), len(text))

        self.run_in_background(copy)

    def _wait(self) -> None:
        """Wait for the work in the background, unless it calls this itself."""
        if self._working is None or self._worker == threading.get_ident():
            return
        # If a signal interrupts it, the end of the transaction waits again.
        wait((self._working,))
        done, self._working = self._working, None
        done.result()

    def cursor(self, *args: Any, **options: Any) -> Any:
        """Return a new cursor."""
        self._wait()
        return super().cursor(*args, **options)

    def commit(self) -> None:
        """Commit the transaction."""
        self._wait()
        super().commit()

    def rollback(self) -> None:
        """Roll the transaction back. Then it does not matter whether the work succeeded."""
        try:
            with suppress(Exception):
                self._wait()
        except BaseException:
            # An interrupt: the work goes on, and nobody may commit it.
            self.close()
            raise
        super().rollback()
