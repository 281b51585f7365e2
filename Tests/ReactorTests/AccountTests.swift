import Bytes
import Reactor
import ReactorSim
import TestSupport
import Testing

/// What the loop says that it holds for a handler's connections.
@Suite struct AccountTests {
    @Test func inputThatNobodyConsumesIsCountedUntilItIsConsumed() throws {
        let pair = try Pair()
        var wanted = 10
        pair.atServer.onRead = { _, bytes in bytes.count < wanted ? 0 : bytes.count }
        pair.atClient.onOpened = { pair.send($0, [1, 2, 3], from: pair.client) }
        let id = pair.connect()
        pair.network.run(for: 100_000_000)
        #expect(pair.atServer.account.input == 3 && pair.atServer.account.output == 0)
        pair.send(id, [UInt8](repeating: 4, count: 7), from: pair.client)
        pair.network.run(for: 100_000_000)
        #expect(pair.atServer.account.input == 0 && pair.atServer.received.count == 10)
        wanted = 100
        pair.send(id, [1, 2], from: pair.client)
        pair.network.run(for: 100_000_000)
        #expect(pair.atServer.account.input == 2)
        pair.client.close(id)
        pair.network.run(for: 100_000_000)
        #expect(pair.atServer.account.input == 0 && pair.atServer.reasons.count == 1)
    }

    @Test(arguments: [false, true])
    func outputThatThePeerDoesNotTakeIsCountedUntilItIsTaken(shared: Bool) throws {
        for ending in ["read", "close", "reset"] {
            let pair = try Pair()
            pair.atServer.onOpened = { id in
                let bytes = [UInt8](repeating: 7, count: 500_000)
                if shared {
                    pair.server.send(id, shared: SharedBytes(bytes))
                } else {
                    pair.send(id, bytes, from: pair.server)
                }
            }
            pair.atClient.onOpened = { pair.client.pauseReading($0) }
            let id = pair.connect()
            pair.network.run(for: 1_000_000_000)
            #expect(pair.atServer.account.output >= 400_000 && pair.atServer.account.output <= 1_100_000)
            // More behind it, while nothing is taken.
            let before = pair.atServer.account.output
            pair.send(pair.atServer.openedIDs[0], [UInt8](repeating: 8, count: 2_000_000), from: pair.server)
            pair.network.run(for: 1_000_000_000)
            #expect(pair.atServer.account.output >= before + 1_900_000)
            switch ending {
            case "read": pair.client.resumeReading(id)
            case "close": pair.server.close(pair.atServer.openedIDs[0])
            default: pair.network.resetConnections(of: pair.client)
            }
            pair.network.run(for: 3_000_000_000)
            #expect(pair.atServer.account.output == 0, "\(ending)")
        }
    }

    /// What is held follows the connection to its next handler.
    @Test func anUpgradeTakesWhatIsHeldAlong() throws {
        let pair = try Pair()
        let next = Script()
        next.onRead = { _, _ in 0 }
        pair.atServer.onRead = { id, bytes in
            pair.send(id, [UInt8](repeating: 7, count: 500_000), from: pair.server)
            if bytes.count < 5 { return 0 }
            pair.server.setHandler(id, next)
            return 2
        }
        pair.atClient.onOpened = {
            pair.client.pauseReading($0)
            pair.send($0, [1, 2, 3], from: pair.client)
        }
        let id = pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.account.input == 3 && pair.atServer.account.output >= 400_000)
        pair.send(id, [4, 5], from: pair.client)
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.account.input == 0 && pair.atServer.account.output == 0)
        #expect(next.account.input == 3 && next.account.output >= 900_000)
        pair.client.close(id)
        pair.network.run(for: 3_000_000_000)
        #expect(next.account.input == 0 && next.account.output == 0)
    }
}
