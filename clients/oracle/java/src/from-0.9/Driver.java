import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The story of one version of kafka-clients, from 0.9 on.
 *
 * <p>Its chapters are those that the version's classes can tell: `clients/install` compiles the folders that fit it.
 */
final class Driver {
    private static final List<String> CHAPTERS = Arrays.asList(
            "Topics", "Configs", "OldConfigs", "Producing", "ProducingAsConfigured", "Reading", "Times", "Trimming",
            "Groups", "Assignors", "StaticMembers", "GroupAdmin", "GroupOffsets", "Deleting");

    private Driver() {}

    public static void main(String[] arguments) {
        Story story = Story.from(arguments);
        Client client = new Client(story);
        List<String> told = new ArrayList<>();
        for (String name : CHAPTERS) {
            Chapter chapter;
            try {
                chapter = (Chapter) Class.forName(name).getDeclaredConstructor().newInstance();
            } catch (ClassNotFoundException younger) {
                // The client is older, or newer, than what the chapter tells of.
                continue;
            } catch (ReflectiveOperationException broken) {
                throw new IllegalStateException(name, broken);
            }
            told.add(name);
            chapter.tell(story, client);
        }
        story.step("chapters", rows -> rows.row().put("told", told));
        story.end();
    }
}
