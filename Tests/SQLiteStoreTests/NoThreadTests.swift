import Reactor
import SQLiteStore
import TestSupport
import Testing

@Suite struct NoThreadTests {
    @Test func aWriterWithoutAThreadSaysSo() async {
        await #expect(processExitsWith: .success) {
            var refusal: (any Error)?
            let folder = TemporaryFolder()
            do {
                let writer = try SQLiteWriter(path: folder.file("database")) { _ in NoMoreMemory.begin() }
                writer.close()
            } catch {
                refusal = error
            }
            NoMoreMemory.end()
            let operation = (refusal as? SystemError)?.operation
            try #require(operation?.contains("starting the thread") == true)
        }
    }
}
