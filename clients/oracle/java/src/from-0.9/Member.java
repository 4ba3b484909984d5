import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** A member of a group that polls on a thread of its own: old clients do nothing while they are not polled. */
final class Member implements AutoCloseable {
    /** So long a group must stay as it is to count as settled. */
    private static final long CALM_MS = 100;

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Set<TopicPartition> has = new HashSet<>();
    private final Thread thread;
    private volatile boolean leaves;
    private volatile int assignments;
    private volatile String error = "none";

    Member(KafkaConsumer<byte[], byte[]> consumer, List<String> topics) {
        this.consumer = consumer;
        this.thread = new Thread(() -> live(topics), "member");
        thread.setDaemon(true);
        thread.start();
    }

    private void live(List<String> topics) {
        try (KafkaConsumer<byte[], byte[]> closed = consumer) {
            consumer.subscribe(topics, new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> lost) {
                    change(lost, false);
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> gained) {
                    change(gained, true);
                }
            });
            while (!leaves) {
                Calls.poll(consumer, 50);
            }
        } catch (RuntimeException failure) {
            error = failure.getClass().getSimpleName();
        }
    }

    private void change(Collection<TopicPartition> partitions, boolean gained) {
        synchronized (has) {
            if (gained) {
                has.addAll(partitions);
                assignments++;
            } else {
                has.removeAll(partitions);
            }
        }
    }

    Set<TopicPartition> has() {
        synchronized (has) {
            return new HashSet<>(has);
        }
    }

    /** How often it was told what is its own. */
    int assignments() {
        return assignments;
    }

    /** The class of the error that ended it. */
    String error() {
        return error;
    }

    /** Waits until it has ended of itself. */
    String ended() throws Exception {
        Story.settle(() -> !thread.isAlive());
        return thread.isAlive() ? "still a member" : error;
    }

    @Override
    public void close() throws InterruptedException {
        leaves = true;
        thread.join();
    }

    /** Waits until each has been told its partitions, they have these together, each once, and it stays so. */
    static void settle(Collection<TopicPartition> partitions, Member... members) throws Exception {
        List<Set<TopicPartition>> before = new ArrayList<>();
        long[] since = {System.nanoTime()};
        Story.settle(() -> {
            List<Set<TopicPartition>> now = all(members);
            if (!now.equals(before) || !divide(partitions, now) || Arrays.stream(members).anyMatch(m -> m.assignments == 0)) {
                before.clear();
                before.addAll(now);
                since[0] = System.nanoTime();
            }
            return System.nanoTime() - since[0] > CALM_MS * 1_000_000;
        });
    }

    /** What the group has as a whole, and how many partitions each has. */
    static Row show(Row row, Member... members) {
        TreeSet<TopicPartition> together = new TreeSet<>((a, b) -> a.toString().compareTo(b.toString()));
        List<Integer> sizes = new ArrayList<>();
        for (Set<TopicPartition> part : all(members)) {
            together.addAll(part);
            sizes.add(part.size());
        }
        sizes.sort(null);
        return row.with("together", Client.names(together)).with("sizes", sizes)
                .with("disjoint", sizes.stream().mapToInt(Integer::intValue).sum() == together.size());
    }

    private static List<Set<TopicPartition>> all(Member... members) {
        List<Set<TopicPartition>> all = new ArrayList<>();
        for (Member member : members) {
            all.add(member.has());
        }
        return all;
    }

    private static boolean divide(Collection<TopicPartition> partitions, List<Set<TopicPartition>> parts) {
        Set<TopicPartition> together = new HashSet<>();
        parts.forEach(together::addAll);
        return together.equals(new HashSet<>(partitions))
                && parts.stream().mapToInt(Set::size).sum() == partitions.size();
    }
}
