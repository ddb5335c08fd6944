-- Queries that both stores share. Times and days are given as ISO 8601 text.

-- name: applied_migrations()
-- The migrations that yoyo has applied.
SELECT migration_id FROM _yoyo_migration;

-- name: add_node(name, contact)^
-- A new node, or no row if there is one of that name.
INSERT INTO nodes (name, contact) VALUES (:name, :contact)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_nodes()
-- All nodes, with how many payloads each has sent.
SELECT nodes.name, nodes.contact, nodes.created_at, count(payloads.id) AS payloads, max(payloads.created_at) AS last_payload,
    nodes.restriction_policy, nodes.eas_group
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id
GROUP BY nodes.id, nodes.name, nodes.contact, nodes.created_at, nodes.restriction_policy, nodes.eas_group
ORDER BY nodes.name;

-- name: public_nodes()
-- Names and policies of all nodes, without a look at what they have sent.
SELECT name, restriction_policy FROM nodes ORDER BY name;

-- name: find_node(name)^
-- A node's id.
SELECT id FROM nodes WHERE name = :name;

-- name: update_node(node_id, new_name, contact)!
-- A node's name and contact; null keeps them.
UPDATE nodes SET name = COALESCE(:new_name, name), contact = COALESCE(:contact, contact) WHERE id = :node_id;

-- name: remove_node(node_id)!
-- A node and all that it has sent.
DELETE FROM nodes WHERE id = :node_id;

-- name: add_token(node_id, network, value, valid_from, valid_until)^
-- A token, by its digest.
INSERT INTO tokens (node_id, network, value, valid_from, valid_until)
VALUES (:node_id, :network, :value, :valid_from, :valid_until)
RETURNING id;

-- name: list_tokens()
-- All tokens, without their values.
SELECT tokens.id, nodes.name AS node, tokens.network, tokens.valid_from, tokens.valid_until, tokens.revoked_at,
    tokens.created_at
FROM tokens LEFT JOIN nodes ON nodes.id = tokens.node_id
ORDER BY nodes.name IS NULL, nodes.name, tokens.network, tokens.id;

-- name: revoke_token(id, now)!
-- Make a token invalid from now on; one that was revoked before keeps its time.
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id;

-- name: sender_of_token(value)^
-- A node's token, and the node with its revision, by which a request sees what has changed since it arrived.
SELECT nodes.id, nodes.name, nodes.revision, tokens.id, tokens.valid_from, tokens.valid_until, tokens.revoked_at
FROM tokens JOIN nodes ON nodes.id = tokens.node_id
WHERE tokens.value = :value;

-- name: validity_of_token(id)^
-- Since when and until when a token is valid, and when it was revoked.
SELECT valid_from, valid_until, revoked_at FROM tokens WHERE id = :id;

-- name: add_payload(node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, body, origin, revision)^
-- A new payload.
INSERT INTO payloads (
    node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, body,
    origin, revision
)
VALUES (
    :node_id, :hash, :content, :source, :period_start, :period_end, :starts_at, :ends_at, :generated_at, :version,
    :nb_rows, :body, :origin, :revision
)
RETURNING id, created_at;

-- name: find_payload(node_id, hash)^
-- A payload by its hash: when it was received, and whether it is in force.
SELECT id, created_at, withdrawn_at IS NULL FROM payloads WHERE node_id = :node_id AND hash = :hash;

-- name: payloads_in_force(node_id, first_day, last_day)
-- The payloads that may have requests of some days, and their first days.
SELECT id, starts_at FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NULL AND starts_at <= :last_day AND ends_at >= :first_day
ORDER BY id;

-- name: payloads_near(node_id, first_day, last_day, content)
-- The payloads in force that a new one may touch. All payloads are of one kind; another kind is another condition here.
SELECT id, hash, content, source, period_start, period_end, revision, created_at FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: days_near(node_id, first_day, last_day, content)
-- The days of their requests.
SELECT payloads.id, payload_days.day
FROM payloads JOIN payload_days ON payload_days.payload_id = payloads.id
WHERE node_id = :node_id AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content);

-- name: payloads_withdrawn_near(node_id, first_day, last_day, content, revision)
-- The payloads that a new one may touch and that were withdrawn after a revision of the node.
SELECT id, hash, content, source, period_start, period_end, revision FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NOT NULL AND revision > :revision
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: part_of_body(payload_id, first, count)$
-- Some bytes of a payload as it is kept, from the first one (1) on.
SELECT substr(body, :first, :count) FROM payloads WHERE id = :payload_id;

-- name: withdraw_payload(payload_id, now, superseded_by, revision)!
-- A payload does not count any more.
UPDATE payloads SET withdrawn_at = :now, superseded_by = :superseded_by, revision = :revision
WHERE id = :payload_id AND withdrawn_at IS NULL;

-- name: is_in_force(node_id, payload_id)$
-- Whether a payload of a node counts; nothing if it has none of that number.
SELECT withdrawn_at IS NULL FROM payloads WHERE node_id = :node_id AND id = :payload_id;

-- name: revision_of_payload(payload_id)$
-- The node's revision that put a payload in force or withdrew it.
SELECT revision FROM payloads WHERE id = :payload_id;

-- name: restore_payload(payload_id, revision)!
-- A payload counts again.
UPDATE payloads SET withdrawn_at = NULL, superseded_by = NULL, revision = :revision WHERE id = :payload_id;

-- name: list_payloads(node_id, number, count)
-- The payloads, newest first, without their bodies: of all nodes if the id is less than 0, all if the
-- number is less than 0.
SELECT payloads.id AS payload, nodes.name AS node, payloads.created_at AS received_at, payloads.nb_rows AS rows,
    payloads.hash, payloads.content, payloads.source, payloads.generated_at, payloads.version, payloads.origin,
    payloads.withdrawn_at, payloads.superseded_by, payloads.period_start, payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:number < 0 OR payloads.id = :number)
ORDER BY payloads.id DESC
LIMIT :count;

-- name: list_payload_days(node_id, number, oldest)
-- The days of all these, from one payload on.
SELECT payload_days.payload_id, payload_days.day
FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:number < 0 OR payloads.id = :number) AND payloads.id >= :oldest
ORDER BY payload_days.payload_id, payload_days.day;

-- name: newest_days()
-- The newest day that each node has reported.
SELECT nodes.name, max(COALESCE(payloads.period_end, payloads.ends_at))
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id AND payloads.withdrawn_at IS NULL
GROUP BY nodes.name
ORDER BY nodes.name;

-- name: node_of_payload(payload_id)^
-- Whose payload it is.
SELECT nodes.id, nodes.name FROM payloads JOIN nodes ON nodes.id = payloads.node_id WHERE payloads.id = :payload_id;

-- name: add_payload_days(payload_id, day)*!
-- The days that a payload covers.
INSERT INTO payload_days (payload_id, day) VALUES (:payload_id, :day);

-- name: add_network(node_id, name)*!
-- Networks appear by themselves when statistics of them first come in.
INSERT INTO networks (node_id, name) VALUES (:node_id, :name)
ON CONFLICT (node_id, name) DO NOTHING;

-- name: add_rolled_networks(node_id)!
-- The networks of the incoming rows, without those that are known.
INSERT INTO networks (node_id, name)
SELECT DISTINCT :node_id, network FROM rolled WHERE network <> '' ORDER BY network
ON CONFLICT (node_id, name) DO NOTHING;

-- name: merge_stats(node_id)!
-- Add the incoming rows to those that are there.
INSERT INTO dataselect_stats AS stored (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM incoming WHERE true
ON CONFLICT (node_id, date, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients),
    updated_at = excluded.updated_at;

-- name: insert_stats(node_id)!
-- Sum up what several payloads have of months of which no rows are there.
INSERT INTO dataselect_stats (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM incoming
GROUP BY date, network, station, location, channel, country;

-- name: roll_up()!
-- Sum the incoming rows up over the streams of each network; all roll-ups are made from these few rows.
INSERT INTO rolled
SELECT date, network, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM incoming
GROUP BY date, network, country;

-- name: merge_by_network_country(node_id)!
-- The roll-up over the streams of a network.
INSERT INTO dataselect_stats_by_network_country AS stored (
    node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM rolled WHERE true
ON CONFLICT (node_id, date, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_network(node_id)!
-- The roll-up over the streams of a network and all countries.
INSERT INTO dataselect_stats_by_network AS stored (
    node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM rolled WHERE true
GROUP BY date, network
ON CONFLICT (node_id, date, network) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_country(node_id)!
-- The roll-up over all streams, by country.
INSERT INTO dataselect_stats_by_country AS stored (
    node_id, date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM rolled WHERE true
GROUP BY date, country
ON CONFLICT (node_id, date, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: paste_nodes(id, name, contact, restriction_policy, eas_group, revision, changed_at, created_at)!
-- A node as another database has it.
INSERT INTO nodes (id, name, contact, restriction_policy, eas_group, revision, changed_at, created_at)
VALUES (:id, :name, :contact, CAST(:restriction_policy AS boolean), :eas_group, :revision, :changed_at, :created_at);

-- name: paste_tokens(id, node_id, network, value, valid_from, valid_until, revoked_at, created_at)!
INSERT INTO tokens (id, node_id, network, value, valid_from, valid_until, revoked_at, created_at)
VALUES (:id, :node_id, :network, :value, :valid_from, :valid_until, :revoked_at, :created_at);

-- name: paste_networks(node_id, name, inverted_policy, eas_group, created_at)!
INSERT INTO networks (node_id, name, inverted_policy, eas_group, created_at)
VALUES (:node_id, :name, CAST(:inverted_policy AS boolean), :eas_group, :created_at);

-- name: paste_payloads(id, node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, origin, withdrawn_at, revision, created_at, body)!
-- Without what has superseded it, which may not be there yet.
INSERT INTO payloads (
    id, node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows,
    origin, withdrawn_at, revision, created_at, body
)
VALUES (
    :id, :node_id, :hash, :content, :source, :period_start, :period_end, :starts_at, :ends_at, :generated_at, :version,
    :nb_rows, :origin, :withdrawn_at, :revision, :created_at, :body
);

-- name: restore_identity(payload_id, hash, content, source, period_start, period_end, starts_at, ends_at)!
-- The identity of a payload, as its body has it.
UPDATE payloads SET hash = :hash, content = :content, source = :source, period_start = :period_start,
    period_end = :period_end, starts_at = :starts_at, ends_at = :ends_at
WHERE id = :payload_id;

-- name: link_payload(id, superseded_by)!
-- The payload that has superseded it.
UPDATE payloads SET superseded_by = :superseded_by WHERE id = :id;

-- name: remove_stats(node_id, days)!
-- Delete a node's rows of some months; they are built again.
DELETE FROM dataselect_stats WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network_country(node_id, days)!
DELETE FROM dataselect_stats_by_network_country WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network(node_id, days)!
DELETE FROM dataselect_stats_by_network WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_country(node_id, days)!
DELETE FROM dataselect_stats_by_country WHERE node_id = :node_id AND date IN :days;

-- name: all_nodes()
-- Ids and names of all nodes.
SELECT id, name FROM nodes ORDER BY name;

-- name: months_of_node(node_id)
-- A day of each month of which a node has statistics, or payloads that count.
SELECT date FROM dataselect_stats WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network_country WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_country WHERE node_id = :node_id
UNION SELECT day FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
    WHERE node_id = :node_id AND withdrawn_at IS NULL
UNION SELECT starts_at FROM payloads WHERE node_id = :node_id AND withdrawn_at IS NULL;

-- name: data_version()^
-- Two numbers of which each change of statistics, nodes or networks increases one, and the times of the last changes.
-- While an older version of the service runs, too, only the times show its changes of nodes.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;

-- name: set_node_policy(node_id, restricted)!
-- Whether the networks of a node are restricted, unless they invert that.
UPDATE nodes SET restriction_policy = :restricted WHERE id = :node_id;

-- name: set_node_group(node_id, eas_group)!
-- Whose members see the restricted statistics of a node.
UPDATE nodes SET eas_group = :eas_group WHERE id = :node_id;

-- name: set_network_policy(node_id, name, inverted)!
-- Whether a network inverts the policy of its node.
UPDATE networks SET inverted_policy = :inverted WHERE node_id = :node_id AND name = :name;

-- name: set_network_group(node_id, name, eas_group)!
-- Whose members see the restricted statistics of a network.
UPDATE networks SET eas_group = :eas_group WHERE node_id = :node_id AND name = :name;

-- name: list_networks()
-- All networks, at each of their nodes, with the policies and groups that open them.
SELECT networks.name, nodes.name AS node, nodes.restriction_policy <> networks.inverted_policy AS restricted,
    networks.inverted_policy, networks.eas_group, nodes.eas_group AS node_eas_group
FROM networks JOIN nodes ON nodes.id = networks.node_id
ORDER BY networks.name, nodes.name;

-- name: network_of_token(value)^
-- An operator's token, and its network.
SELECT network, valid_from, valid_until, revoked_at FROM tokens WHERE value = :value AND network IS NOT NULL;

-- name: statistics(source, months, some_nodes, nodes, some_networks, networks, some_countries, countries, station, location, channel, by_month, by_year, by_node, by_network, by_station, by_location, by_channel, by_country, named, groups, granted, sketches, sort, direction, rows)
-- Sums over some months, divided as asked, from the smallest table that can answer; '*' stands for all.
-- Hidden networks are one row Other of each date and country. Where the question names networks or streams they are
-- left out, since such a row would be about those alone.
WITH stats AS (
    SELECT node_id, date, network, station, location, channel, country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats WHERE :source = 'streams'
    UNION ALL
    SELECT node_id, date, network, '', '', '', country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_network_country WHERE :source = 'networks and countries'
    UNION ALL
    SELECT node_id, date, network, '', '', '', '',
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_network WHERE :source = 'networks'
    UNION ALL
    SELECT node_id, date, '', '', '', '', country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_country WHERE :source = 'countries'
), seen AS (
    -- What failed as a whole is of no network, and open; a network that nothing is known of is as its node is.
    SELECT stats.*, nodes.name AS node,
        (:by_network OR :named OR :sketches) AND stats.network <> ''
            AND nodes.restriction_policy <> COALESCE(networks.inverted_policy, false) AS restricted,
        COALESCE(networks.eas_group, '') IN :groups OR COALESCE(nodes.eas_group, '') IN :groups
            OR stats.network IN :granted AS entitled
    FROM stats
    JOIN nodes ON nodes.id = stats.node_id
    LEFT JOIN networks ON (:by_network OR :named OR :sketches)
        AND networks.node_id = stats.node_id AND networks.name = stats.network
    WHERE stats.date IN :months
        AND (NOT :some_nodes OR nodes.name IN :nodes)
        AND (NOT :some_networks OR stats.network IN :networks)
        AND (NOT :some_countries OR stats.country IN :countries)
        AND (:station = '' OR regexp_like(stats.station, :station))
        AND (:location = '' OR regexp_like(stats.location, :location))
        AND (:channel = '' OR regexp_like(stats.channel, :channel))
), answer AS (
    SELECT
        CASE WHEN :by_month THEN substr(CAST(date AS text), 1, 7)
            WHEN :by_year THEN substr(CAST(date AS text), 1, 4) ELSE '*' END COLLATE "C" AS date,
        CASE WHEN NOT :by_node THEN '*' WHEN :by_network AND hidden THEN 'Other' ELSE node END COLLATE "C" AS node,
        CASE WHEN NOT :by_network THEN '*' WHEN hidden THEN 'Other' ELSE network END COLLATE "C" AS network,
        CASE WHEN NOT :by_station OR hidden THEN '*' ELSE station END COLLATE "C" AS station,
        CASE WHEN NOT :by_location OR hidden THEN '*' ELSE location END COLLATE "C" AS location,
        CASE WHEN NOT :by_channel OR hidden THEN '*' ELSE channel END COLLATE "C" AS channel,
        CASE WHEN NOT :by_country THEN '*' ELSE country END COLLATE "C" AS country,
        sum(bytes) AS bytes,
        sum(nb_reqs) AS nb_reqs,
        sum(nb_successful_reqs) AS nb_successful_reqs,
        sum(nb_failedrequests) AS nb_unsuccessful_reqs,
        hll_cardinality(hll_union_agg(clients)) AS clients,
        CASE WHEN :sketches THEN hll_union_agg(clients) END AS hll_clients,
        max(CASE WHEN hidden THEN 0 ELSE 1 END) AS seen,
        min(CASE WHEN entitled THEN 1 ELSE 0 END) AS entitled,
        max(CASE WHEN hidden THEN 1 ELSE 0 END) AS has_hidden,
        substr(CAST(max(date) AS text), 1, 7) AS last_month
    FROM (SELECT seen.*, restricted AND NOT entitled AS hidden FROM seen) AS judged
    WHERE NOT (hidden AND :named)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT * FROM answer
ORDER BY
    CASE WHEN :direction > 0 THEN CASE :sort WHEN 'node' THEN node WHEN 'network' THEN network
        WHEN 'station' THEN station WHEN 'location' THEN location WHEN 'channel' THEN channel
        WHEN 'country' THEN country END END,
    CASE WHEN :direction < 0 THEN CASE :sort WHEN 'date' THEN date WHEN 'node' THEN node
        WHEN 'network' THEN network WHEN 'station' THEN station WHEN 'location' THEN location
        WHEN 'channel' THEN channel WHEN 'country' THEN country END END DESC,
    :direction * CASE :sort WHEN 'bytes' THEN bytes WHEN 'nb_reqs' THEN nb_reqs
        WHEN 'nb_successful_reqs' THEN nb_successful_reqs WHEN 'nb_unsuccessful_reqs' THEN nb_unsuccessful_reqs
        WHEN 'clients' THEN clients END,
    date, node, network, station, location, channel, country
LIMIT :rows;
