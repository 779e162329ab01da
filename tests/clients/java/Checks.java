/** How a check is made and told; what the Java clients share. */
class Checks {
    /** A check, or a step of one. */
    interface Step {
        void run() throws Exception;
    }

    static void tell(String name, Step check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Exception | AssertionError error) {
            error.printStackTrace();
            System.out.println("failed " + name + ": " + error.toString().replace('\n', ' '));
        }
    }

    static void must(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
