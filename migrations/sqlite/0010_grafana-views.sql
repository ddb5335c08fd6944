-- Do nothing: the dashboard for Grafana reads PostgreSQL alone.
-- depends: 0009_ringserver-events

SELECT 1;
