import Testing

@testable import KafkaClient

@Suite struct PartitionTableTests {
    private func table(_ count: Int32) -> PartitionTable {
        var table = PartitionTable()
        _ = table.grow(to: count) { _ in -2 }
        return table
    }

    @Test func positionedMeansThatEveryPartitionHasReported() {
        var table = table(3)
        #expect(!table.isPositioned)
        table.position(0, next: 5)
        table.position(0, next: 6)
        table.position(1, next: 0)
        #expect(!table.isPositioned)
        table.position(2, next: -1)
        #expect(table.isPositioned)
        #expect(table.nextOffsets == [0: 6, 1: 0])
        let new = table.grow(to: 4) { _ in -2 }
        #expect(new == [3])
        #expect(!table.isPositioned)
    }

    @Test func afterAllAreForgottenNothingIsPositioned() {
        var table = table(3)
        table.position(0, next: 1)
        let gone = table.removeAll()
        #expect(gone == [0, 1, 2])
        #expect(!table.isPositioned && table.isEmpty)
        _ = table.grow(to: 1) { _ in -2 }
        table.position(0, next: 1)
        #expect(table.isPositioned)
    }

    @Test func whatIsHeardFromTheOldPlaceDoesNotCount() {
        var table = table(1)
        table.position(0, next: 7)
        let moves = table.lose(0, target: -1)
        #expect(moves)
        table.position(0, next: 8)
        #expect(!table.isPositioned && table.nextOffsets == [:])
        table.moved(0)
        table.position(0, next: 2)
        #expect(table.isPositioned && table.nextOffsets == [0: 2])
    }

    @Test func afterADoubtEveryPartitionIsAskedForAgainWhereItIs() {
        var table = table(2)
        table.position(0, next: 7)
        table.doubtAll()
        table.doubtAll()
        #expect(!table.isPositioned)
        let moves = [0, 1, 0].map { table.restate($0) }
        #expect(moves == [true, true, false])
        #expect(table[0]?.target == 7 && table[1]?.target == -2)
        // Another cluster, while it is on the move: it goes there, with the move that is under way.
        let movesAgain = table.lose(0, target: -2)
        #expect(!movesAgain)
        #expect(table[0]?.target == -2)
        for partition in 0..<2 as Range<Int32> {
            table.moved(partition)
            table.position(partition, next: 9)
        }
        #expect(table.isPositioned)
    }

    @Test func whatABrokerSaysTrapsNothing() {
        var table = table(2)
        let new = table.grow(to: -5) { _ in 0 } + table.grow(to: .min) { _ in 0 }
        #expect(new == [])
        for partition in [-1, 2, .max, .min] as [Int32] {
            table.position(partition, next: .max)
            table.doubt(partition)
            table.moved(partition)
            let moves = [table.lose(partition, target: 0), table.restate(partition)]
            #expect(moves == [false, false])
        }
        for next in [.max, .min, -1, 0] as [Int64] {
            table.position(0, next: next)
            table.position(1, next: next)
        }
        #expect(table.isPositioned)
        let gone = table.removeAll()
        #expect(gone == [0, 1])
    }
}
