import Memory
import Testing

@Suite("Vector, cell and place table")
struct VectorAndTableTests {
    @Test("a vector appends, pops, drops from the front and starts over")
    func vector() {
        var vector = Vector<Int>()
        #expect(vector.isEmpty && vector.capacity == 0)
        for number in 0..<100 { vector.append(number) }
        #expect(vector.count == 100 && vector[99] == 99)
        #expect(vector.popLast() == 99)
        vector.removeLast()
        vector.removeFirst(90)
        #expect(vector.count == 8 && vector[0] == 90)
        vector[0] = 5
        #expect(vector[0] == 5)
        vector.removeAll()
        #expect(vector.popLast() == nil)
        vector.release()
        #expect(vector.capacity == 0)
    }

    @Test("a cell ends its value once")
    func cell() {
        final class Ends { var count = 0 }
        struct Guest: ~Copyable {
            let ends: Ends
            var number = 1
            deinit { ends.count += 1 }
        }
        let ends = Ends()
        do {
            let cell = Cell(Guest(ends: ends))
            cell.value.number += 1
            cell.place.value.number += 1
            #expect(cell.value.number == 3)
        }
        #expect(ends.count == 1)
    }

    @Test("behaviour48_aTableFindsAValueOnlyByTheHandleItWasMadeFor")
    func table() {
        let owner = Owner()
        owner.set(slot: 1000, generation: 1, 7)
        #expect(owner.value(1000, 1) == 7)
        #expect(owner.value(1000, 2) == nil)
        #expect(owner.value(1000, 0) == nil)
        #expect(owner.value(5, 1) == nil)
        #expect(owner.value(.max, 1) == nil)
        #expect(owner.table.generation(atSlot: 1000) == 1)
        // The next handle of the slot finds a fresh value, and ends the older one.
        #expect(owner.make(1000, 2) == 0)
        #expect(!owner.remove(1000, 1))
        #expect(owner.table.count == 1)
        #expect(owner.remove(1000, 2))
        #expect(!owner.remove(1000, 2))
        #expect(owner.table.count == 0)
        #expect(owner.table.generation(atSlot: 1000) == nil)
    }
}

/// A table as its owner has it: a constant of a class. (The test macros take copyable values only.)
private final class Owner {
    let table = PlaceTable(0)

    func set(slot: UInt32, generation: UInt32, _ value: Int) {
        table.make(slot: slot, generation: generation).value = value
    }
    func make(_ slot: UInt32, _ generation: UInt32) -> Int { table.make(slot: slot, generation: generation).value }
    func value(_ slot: UInt32, _ generation: UInt32) -> Int? { table.find(slot: slot, generation: generation)?.value }
    func remove(_ slot: UInt32, _ generation: UInt32) -> Bool { table.remove(slot: slot, generation: generation) }
}
