-- The settings of a transaction (`local`) or of a session. Behind PgBouncer, the next transaction may use another
-- connection to the server. `search_path` is left to the administrator. `temp_buffers` cannot change after a session
-- has used a temporary table.
SELECT
    -- These settings determine the format of values.
    set_config('bytea_output', 'hex', %(local)s),
    set_config('extra_float_digits', '1', %(local)s),
    set_config('TimeZone', 'UTC', %(local)s),
    set_config('DateStyle', 'ISO, MDY', %(local)s),
    set_config('IntervalStyle', 'postgres', %(local)s),
    -- Queries that need a limit set their own.
    set_config('statement_timeout', '0', %(local)s),
    -- A reader does not wait for a migration: the client tries again. Writers set a longer limit.
    set_config('lock_timeout', '5s', %(local)s),
    -- An abandoned transaction must not block a migration indefinitely.
    set_config('idle_in_transaction_session_timeout', '60s', %(local)s),
    -- A payload of 100,000 rows is read and sorted in memory.
    set_config('work_mem', '32MB', %(local)s),
    -- The union of sketches takes 128 kB for each group. A sort keeps one group in memory at a time.
    set_config('enable_hashagg', 'off', %(local)s),
    -- The costs of recursive statements are overestimated. Compiling one takes a second, and running it a millisecond.
    set_config('jit', 'off', %(local)s),
    -- Cursors are read to their end.
    set_config('cursor_tuple_fraction', '1', %(local)s)
