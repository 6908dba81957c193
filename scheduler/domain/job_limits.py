"""How long, how many and of which letters what a job says may be."""

NAME_PATTERN = r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?"
ENVIRONMENT_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
LABEL_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?"
MODEL_PATTERN = r"[a-z0-9][a-z0-9.-]{0,99}"
IMAGE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,499}"
OBJECT_PATTERN = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0\n]{0,900})?"
OBJECT_WANTED = "s3://bucket/key or s3://bucket/prefix, the bucket of 3 to 63 of a-z 0-9 . -"
REGION_PATTERN = r"[a-z0-9-]{1,64}"
DIGEST_PATTERN = r"sha256:[0-9a-f]{64}"
AMOUNT_PATTERN = r"[0-9]{1,12}(\.[0-9]{1,9})?"
MOST_COMMAND_BYTES = 128 * 1024
LEAST_SHARE_BYTES = 1 << 20  # of a device's memory
MOST_ENVIRONMENT_ENTRIES = 256
MOST_ENVIRONMENT_BYTES = 128 * 1024
MOST_LABELS = 64
MOST_LABEL_CHARACTERS = 255
MOST_VARIANTS = 16  # as written; a device class stands for any number of models
MOST_RESOLVED_VARIANTS = 256
MOST_DEVICES = 100_000
MOST_PROCESSES_PER_NODE = 4_096
MOST_SPARE_NODES = 64
MOST_GROUPS = 16
MOST_TIME_LIMIT_SECONDS = 366 * 24 * 3600
MOST_GRACE_SECONDS = 24 * 3600
MOST_ATTEMPTS = 1_000
MOST_BUDGET = 10_000
MOST_RULES = 16
MOST_PATTERN_CHARACTERS = 200
MOST_DEPENDENCIES = 100
MOST_ARRAY = 10_000
MOST_LISTED = 64
MOST_STEPS_PER_HOUR = 1_000_000_000
MOST_SECRET_BYTES = 64 * 1024
MOST_SECRETS = 1_000  # of a firm
SECRET_FOLDER = "/run/secrets"  # noqa: S105 - where files of secrets may lie, in the task's own view of the host
VOLUME_FOLDERS = (
    "/volumes",
    "/mnt",
    "/data",
)  # below which volumes may lie, in the task's own view of the host
MOST_URL_CHARACTERS = 2_000
NAME_WANTED = "1 to 100 of a-z 0-9 - . _, no sign at the ends"
