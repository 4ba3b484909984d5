import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Runs one job from the command line, or (`serve`) one job a line of standard input in one process. */
final class Main {
    private Main() {}

    public static void main(String[] words) throws Exception {
        PrintStream answers = System.out;
        // Client libraries that print must not garble the answers.
        System.setOut(System.err);
        Driver driver = new Driver();
        if (words.length > 0 && words[0].equals("serve")) {
            BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = jobs.readLine(); line != null; line = jobs.readLine()) {
                answers.println(answer(driver, line.split("\t")));
                answers.flush();
            }
        } else {
            String answer = answer(driver, words);
            answers.println(answer);
            answers.flush();
            System.exit(answer.startsWith("ok") ? 0 : 1);
        }
    }

    private static String answer(Driver driver, String[] words) {
        try {
            Job job = new Job(words);
            switch (job.command) {
                case "codecs": return "ok\tcodecs=" + Driver.CODECS;
                case "produce": return "ok\trecords=" + driver.produce(job);
                case "consume": return "ok\trecords=" + driver.consume(job);
                default: throw new IllegalArgumentException("no command is called '" + job.command + "'");
            }
        } catch (Exception | Error error) {
            error.printStackTrace();
            StringBuilder chain = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                chain.append(chain.length() == 0 ? "" : ": ").append(cause);
            }
            return "error\t" + chain.toString().replaceAll("\\s+", " ");
        }
    }
}
