import TestSupport
import Testing

@Suite struct ChildProcessTests {
    @Test func outputErrorsAndStatusOfAProgramAreKept() throws {
        let result = try ChildProcess.run("/bin/sh", ["-c", "cat; echo oops >&2; exit 3"], input: "hello")
        #expect(result.status == 3)
        #expect(result.output == "hello")
        #expect(result.errors == "oops\n")
    }

    @Test func aProgramThatIsKilledReportsTheSignal() throws {
        let child = try ChildProcess("/bin/sleep", ["30"])
        #expect(child.isRunning)
        child.kill()
        #expect(child.status == 137)
    }

    @Test func waitingForWordsThatNeverComeSaysWhatWasWritten() throws {
        let child = try ChildProcess("/bin/sh", ["-c", "echo something else"])
        #expect(throws: ChildProcessError.self) { try child.waitForOutput("ready") }
    }

    @Test func theRepositoryIsFound() {
        #expect(Tool.exists(Tool.repository + "/Package.swift"))
    }
}
