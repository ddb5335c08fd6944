-- The privileges of a role that reads the dashboard for Grafana. `eida_statsman db grant` replaces the placeholders.

GRANT CONNECT ON DATABASE {database} TO {role};
GRANT SELECT ON grafana_nodes, grafana_networks, grafana_by_hour, grafana_by_day, grafana_by_place, grafana_by_client,
    grafana_clients_by_hour, grafana_clients_by_day, grafana_clients_by_month TO {role};
