-- Sums of streams by month and network, for pages and queries by month.
-- depends: 0010_grafana-views

CREATE TABLE ringserver_by_month (
    date date NOT NULL CHECK (extract(day FROM date) = 1),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network varchar(8) NOT NULL,
    country varchar(2) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    records bigint NOT NULL CHECK (records >= 0),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, country)
);
COMMENT ON TABLE ringserver_by_month IS 'by month and network';
COMMENT ON COLUMN ringserver_by_month.records IS 'stream lines of the transfer logs';

INSERT INTO ringserver_by_month (date, node_id, direction, network, country, bytes, packets, records, clients)
SELECT
    date_trunc('month', date::timestamp)::date, node_id, direction, network, country, sum(bytes), sum(packets),
    sum(records), hll_union_agg(clients)
FROM ringserver_by_day
GROUP BY 1, 2, 3, 4, 5;
