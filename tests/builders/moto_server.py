"""A moto server with one bucket and one user who may use it, in moto's own environment (see `buckets.py`).

Prints its address and the user's key as one JSON line, then serves until its standard input ends.
"""

import json
import os
import sys

# The first requests, which found the bucket and its user, are not checked; all others are.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "9"

import boto3  # type: ignore[import-not-found, unused-ignore]
from moto.server import ThreadedMotoServer  # type: ignore[import-not-found, unused-ignore]

CONSOLE_FOLDERS = ("by-console/", "by-console/sub/")  # objects that consoles make where people make a folder


def main(bucket: str) -> None:
    """Serve."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    root = {
        "endpoint_url": address,
        "region_name": "us-east-1",
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
    }
    objects = boto3.client("s3", **root)
    objects.create_bucket(Bucket=bucket)
    for key in CONSOLE_FOLDERS:
        objects.put_object(Bucket=bucket, Key=key)
    people = boto3.client("iam", **root)
    people.create_user(UserName="ledger")
    arns = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": arns}]}
    rule = json.dumps(policy)
    people.put_user_policy(UserName="ledger", PolicyName="log", PolicyDocument=rule)
    key = people.create_access_key(UserName="ledger")["AccessKey"]
    role = people.create_role(RoleName="visitor", AssumeRolePolicyDocument="{}")["Role"]
    people.put_role_policy(RoleName="visitor", PolicyName="log", PolicyDocument=rule)
    lent = boto3.client("sts", **root).assume_role(RoleArn=role["Arn"], RoleSessionName="for-an-hour")[
        "Credentials"
    ]
    told = {
        "address": address, "key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"],
        "lent": [lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"]],
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # its threads would wait for their clients


if __name__ == "__main__":
    main(sys.argv[1])
