-- Clients of all networks and countries by hour.
-- depends: 0013_archive

-- SQL cannot unite sketches here, so `eida_statsman db migrate` fills the table.
CREATE TABLE ringserver_clients_by_hour (
    hour text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    clients blob NOT NULL,
    PRIMARY KEY (hour, node_id, direction)
);
