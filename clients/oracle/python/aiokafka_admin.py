"""The admin client of aiokafka, whose answers are those of the protocol, as what can be printed."""

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

SET_ON_TOPIC = 1  # the source of a configuration


def verdict(code, message=None):
    return {"error": None if code == 0 else errors.for_code(code).__name__, "message": message}


class Admin:
    def __init__(self, bootstrap):
        self.client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)

    async def __aenter__(self):
        await self.client.start()
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def cluster(self):
        seen = await self.client.describe_cluster()
        return {
            "brokers": len(seen["brokers"]),
            "cluster id": bool(seen.get("cluster_id", True)),
            "controller": seen["controller_id"] in [broker["node_id"] for broker in seen["brokers"]],
        }

    async def names(self, prefix):
        return sorted(name for name in await self.client.list_topics() if name.startswith(prefix))

    async def create(self, name, partitions, configs, replication=1, validate_only=False):
        topic = NewTopic(name, partitions, replication, topic_configs=configs)
        response = await self.client.create_topics([topic], validate_only=validate_only)
        ((_, code, message),) = response.topic_errors
        return verdict(code, message)

    async def delete(self, name):
        response = await self.client.delete_topics([name])
        ((_, code),) = response.topic_error_codes
        return verdict(code)

    async def topic(self, name):
        (seen,) = await self.client.describe_topics([name])
        return {
            "topic": seen["topic"],
            "error": verdict(seen["error_code"])["error"],
            "internal": seen["is_internal"],
            "partitions": sorted(
                (
                    {
                        "partition": at["partition"],
                        "error": verdict(at["error_code"])["error"],
                        "led": at["leader"] in at["replicas"],
                        "replicas": len(at["replicas"]),
                        "isr": len(at["isr"]),
                    }
                    for at in seen["partitions"]
                ),
                key=lambda at: at["partition"],
            ),
        }

    async def led(self, name, partitions):
        seen = (await self.topic(name))["partitions"]
        return len(seen) == partitions and all(partition["led"] for partition in seen)

    async def add_partitions(self, name, total):
        try:
            await self.client.create_partitions({name: NewPartitions(total)})
            return verdict(0)
        except errors.KafkaError as error:
            return {"error": type(error).__name__, "message": str(error)}

    async def configs(self, kind, name):
        (response,) = await self.client.describe_configs([ConfigResource(ConfigResourceType[kind], name)])
        ((code, message, _, _, entries),) = response.resources
        if code:
            raise errors.for_code(code)(message)
        fields = ("name", "value", "read_only", "source", "sensitive")
        return {entry[0]: dict(zip(fields, entry)) for entry in entries}

    async def set_configs_of(self, topic):
        """The configurations that were set on a topic."""
        said = await self.configs("TOPIC", topic)
        return {name: config["value"] for name, config in said.items() if config["source"] == SET_ON_TOPIC}

    async def alter(self, name, configs):
        """Replaces what is set."""
        (response,) = await self.client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
        ((code, message, _, _),) = response.resources
        return verdict(code, message)

    async def groups(self, prefix):
        seen = await self.client.list_consumer_groups()
        return sorted(list(group[:2]) for group in seen if group[0].startswith(prefix))

    async def group(self, name):
        (response,) = await self.client.describe_consumer_groups([name])
        ((code, _, state, kind, protocol, members, *_),) = response.groups
        return {**verdict(code), "state": state, "type": kind, "protocol": protocol, "members": len(members)}

    async def group_offsets(self, name, partitions=None):
        seen = await self.client.list_consumer_group_offsets(name, partitions=partitions)
        return sorted([at.topic, at.partition, committed.offset, committed.metadata] for at, committed in seen.items())
