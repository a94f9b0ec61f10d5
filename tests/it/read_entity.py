"""Reads one entity with Google's own client and prints it as JSON: project, kind, name of the key."""

import datetime
import json
import sys

from google.cloud import datastore

project, kind, name = sys.argv[1:]
client = datastore.Client(project=project)
entity = client.get(client.key(kind, name))
by_id = client.query(kind=kind)
by_id.add_filter(filter=datastore.query.PropertyFilter("mo_msg_id", "=", entity["mo_msg_id"]))


def plain(value):
    if isinstance(value, datetime.datetime):
        return {"timestamp": value.timestamp()}
    return value


print(
    json.dumps(
        {
            "properties": {name: plain(value) for name, value in entity.items()},
            "unindexed": sorted(entity.exclude_from_indexes),
            "found_by_msg_id": [found.key.name for found in by_id.fetch()],
        }
    )
)
