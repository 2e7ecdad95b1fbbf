"""A server of S3 on loopback that checks signatures and rights, and boto3 as the one who fills and reads it.

With --open nobody is asked who they are. Prints one JSON document with its address and accounts, then answers one JSON command a line:
["put", bucket, key, file], ["get", bucket, key, file], ["list", bucket, prefix]. Ends when its standard input ends.
"""

import json
import os
import sys

# Whatever the machine is configured with must not be used.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]

import boto3
from botocore.config import Config
from moto import settings
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"


def client(service, key="setup", secret="setup"):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def account(name, actions):
    iam = client("iam")
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


accounts = {
    "owner": account("owner", ["s3:*"]),
    "reader": account("reader", ["s3:GetObject", "s3:ListBucket"]),
    "writer": account("writer", ["s3:PutObject", "s3:AbortMultipartUpload"]),
}
for bucket in ["models", "results"]:
    client("s3").create_bucket(Bucket=bucket)
s3 = client("s3", *accounts["owner"])
if "--open" in sys.argv:
    for bucket in ["models", "results"]:
        client("s3").put_bucket_acl(Bucket=bucket, ACL="public-read-write")
else:
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
print(json.dumps({"endpoint": endpoint, "accounts": accounts}), flush=True)

for line in sys.stdin:
    what, bucket, *rest = json.loads(line)
    if what == "put":
        s3.upload_file(rest[1], bucket, rest[0])
        answer = None
    elif what == "get":
        s3.download_file(bucket, rest[0], rest[1])
        answer = None
    elif what == "list":
        found = s3.list_objects_v2(Bucket=bucket, Prefix=rest[0]).get("Contents", [])
        uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        answer = {"keys": [entry["Key"] for entry in found], "uploads": len(uploads)}
    print(json.dumps(answer), flush=True)
# Threads of the server do not end by themselves.
sys.stdout.flush()
os._exit(0)
