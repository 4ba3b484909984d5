import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.LogContext;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordHelpers;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.OffsetAndMetadata;
import org.apache.kafka.coordinator.group.classic.ClassicGroup;
import org.apache.kafka.coordinator.group.classic.ClassicGroupMember;
import org.apache.kafka.coordinator.group.classic.ClassicGroupState;

/** Prints the records of __consumer_offsets that Kafka's group coordinator writes, as hexadecimal text. */
public final class CoordinatorRecords {
    public static void main(String[] args) {
        Uuid topic = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);
        show("offset", offset(258, OptionalInt.of(7), "m", 1000, OptionalLong.empty(), topic));
        show("offset-without-id", offset(258, OptionalInt.empty(), "", 1000, OptionalLong.empty(), Uuid.ZERO_UUID));
        show("expiring-offset", offset(1, OptionalInt.empty(), "", 2, OptionalLong.of(3), topic));
        show("offset-tombstone", GroupCoordinatorRecordHelpers.newOffsetCommitTombstoneRecord("g", "t", 3));
        ClassicGroup group = new ClassicGroup(new LogContext(), "g", ClassicGroupState.STABLE, Time.SYSTEM, 5,
            Optional.of("consumer"), Optional.of("range"), Optional.of("a-1"), Optional.of(9L));
        JoinGroupRequestProtocolCollection protocols = new JoinGroupRequestProtocolCollection();
        protocols.add(new JoinGroupRequestProtocol().setName("range").setMetadata(new byte[] {1, 2}));
        group.add(new ClassicGroupMember("a-1", Optional.empty(), "a", "/::1", 60000, 45000, "consumer", protocols));
        show("group", GroupCoordinatorRecordHelpers.newGroupMetadataRecord(group, Map.of("a-1", new byte[] {3})));
        show("group-tombstone", GroupCoordinatorRecordHelpers.newGroupMetadataTombstoneRecord("g"));
    }

    private static CoordinatorRecord offset(long offset, OptionalInt leaderEpoch, String metadata, long committed,
                                            OptionalLong expires, Uuid topic) {
        return GroupCoordinatorRecordHelpers.newOffsetCommitRecord("g", "t", 3,
            new OffsetAndMetadata(offset, leaderEpoch, metadata, committed, expires, topic));
    }

    private static void show(String name, CoordinatorRecord record) {
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        byte[] value = serde.serializeValue(record);
        HexFormat hex = HexFormat.of();
        System.out.println(name + " " + hex.formatHex(serde.serializeKey(record)) + " "
            + (value == null ? "-" : hex.formatHex(value)));
    }
}
