"""What the gateway counts."""

from prometheus_client import Counter, Gauge, Histogram

CONNECTED_NODES = Gauge("suanli_gateway_connected_nodes", "Nodes with an open control stream.")
ENROLMENTS = Counter("suanli_gateway_enrolments_total", "Enrolments by outcome.", ["outcome"])
OBSERVED = Counter(
    "suanli_gateway_observed_total",
    "Observed states by whether they were forwarded to the controller.",
    ["forwarded"],
)
DESIRED_PUSHES = Counter("suanli_gateway_desired_pushes_total", "Desired states sent to agents.")
DISCONNECTS = Counter("suanli_gateway_disconnects_total", "Control streams that ended.", ["why"])
WINDOWS_STORED = Counter("suanli_gateway_windows_stored_total", "Usage windows stored.")
WINDOWS_REFUSED = Counter(
    "suanli_gateway_windows_refused_total", "Usage windows refused, by field.", ["field"]
)
WINDOWS_PACED = Counter(
    "suanli_gateway_windows_paced_total", "Windows after which a node was made to wait: it sends too much."
)
WINDOW_FORKS = Counter(
    "suanli_gateway_window_forks_total", "Windows that came again with other bytes: two chains of one key."
)
WINDOW_STORE_SECONDS = Histogram(
    "suanli_gateway_window_store_seconds", "Time to store windows that were checked, of many nodes together."
)
LOG_BYTES = Counter("suanli_gateway_job_log_bytes_total", "Bytes of job output appended.")
REFUSED_CALLS = Counter("suanli_gateway_refused_calls_total", "Calls and streams refused.", ["status"])
DATABASE_AWAY = Counter("suanli_gateway_database_away_total", "Calls refused because the database was away.")
CONTENT_BYTES = Counter(
    "suanli_gateway_content_bytes_total", "Bytes of uploads given out and of results taken in.", ["direction"]
)
TUNNELS = Gauge("suanli_gateway_tunnels", "Tunnels into tasks that are open.")
TUNNEL_BYTES = Counter("suanli_gateway_tunnel_bytes_total", "Bytes carried through tunnels.", ["direction"])
