import Reactor
import ReactorSim
import Testing

@Suite struct RandomNumberTests {
    /// What a finding of the fuzzer, or of a simulated test, can be repeated by.
    @Test func aSimulationGivesTheSameNumbersEachTimeAndTheKernelNever() throws {
        func numbers(seed: UInt64) throws -> [UInt64] {
            let network = SimulatedNetwork(seed: seed)
            let loops = [try network.makeLoop(), try network.makeLoop()]
            return (0..<8).map { loops[$0 % 2].randomNumber() }
        }
        #expect(try numbers(seed: 1) == numbers(seed: 1))
        #expect(try numbers(seed: 1) != numbers(seed: 2))
        #expect(Set(try numbers(seed: 1)).count == 8)
        let loop = try EventLoop()
        #expect(Set((0..<8).map { _ in loop.randomNumber() }).count == 8)
    }
}
