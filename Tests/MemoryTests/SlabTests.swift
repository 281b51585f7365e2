import Memory
import Testing

/// Counts how often its end ran.
private final class Ends {
    var count = 0
}

private struct Guest: ~Copyable {
    var number: Int
    let ends: Ends

    deinit { ends.count += 1 }
}

/// Calls somebody when it ends.
private final class Caller {
    let onEnd: () -> Void

    init(_ onEnd: @escaping () -> Void = {}) { self.onEnd = onEnd }

    deinit { onEnd() }
}

/// A slab as its owner has it: a constant of a class. (The test macros take copyable values only.)
private final class Room<Element: ~Copyable> {
    let slab: Slab<Element>

    init(_ slab: consuming Slab<Element> = Slab()) { self.slab = slab }

    var count: Int { slab.count }
    var bytes: Int { slab.bytes }
    func insert(_ element: consuming Element) -> Handle<Element>? { slab.insert(element) }
    func remove(_ handle: Handle<Element>) -> Bool { slab.remove(handle) }
    func contains(_ handle: Handle<Element>) -> Bool {
        slab.contains(handle) && (slab.find(handle) != nil) && slab.handle(atSlot: handle.slot) == handle
    }
    func reclaim() { slab.reclaim() }
}

extension Room where Element: Copyable {
    func value(_ handle: Handle<Element>) -> Element? { slab.find(handle)?.value }
}

extension Room where Element == Guest {
    func seat(_ number: Int, _ ends: Ends) -> Handle<Guest>? { insert(Guest(number: number, ends: ends)) }
}

@Suite("Slab: places that never move, handles that cannot dangle")
struct SlabTests {
    @Test("behaviour48_aStaleHandleReadsAsGoneAlsoWhenItsPlaceIsUsedAgain")
    func staleHandle() throws {
        let slab = Room<Int>()
        let first = try #require(slab.insert(1))
        #expect(slab.remove(first))
        slab.reclaim()
        let second = try #require(slab.insert(2))
        #expect(second.slot == first.slot)
        #expect(slab.value(first) == nil)
        #expect(!slab.contains(first))
        #expect(slab.value(second) == 2)
    }

    @Test("behaviour48_aValueEndsExactlyOnce")
    func endsOnce() throws {
        let ends = Ends()
        let slab = Room<Guest>()
        let handle = try #require(slab.seat(1, ends))
        #expect(slab.remove(handle))
        #expect(!slab.remove(handle))
        #expect(ends.count == 0)
        slab.reclaim()
        #expect(ends.count == 1)
        #expect(!slab.remove(handle))
        slab.reclaim()
        #expect(ends.count == 1)
    }

    @Test("a place that was looked up stays the ended value until the end of the turn")
    func retiredIsReadable() throws {
        let ends = Ends()
        let slab = Room<Guest>()
        let handle = try #require(slab.seat(7, ends))
        guard let place = slab.slab.find(handle) else {
            Issue.record("it is there")
            return
        }
        #expect(slab.remove(handle))
        // Somebody who is inserted in the same turn gets another place.
        let other = try #require(slab.seat(8, ends))
        #expect(other.slot != handle.slot)
        let before = place.value.number
        #expect(before == 7)
        place.value.number = 9
        let others = slab.slab.find(other)?.value.number
        #expect(others == 8)
    }

    @Test("values do not move when the slab grows")
    func growth() throws {
        let slab = Room(Slab<Int>(initialCount: 4))
        var handles: [Handle<Int>] = []
        let first = try #require(slab.insert(0))
        guard let place = slab.slab.find(first) else {
            Issue.record("it is there")
            return
        }
        for number in 1..<1000 { handles.append(try #require(slab.insert(number))) }
        place.value = 42
        #expect(slab.value(first) == 42)
        for (index, handle) in handles.enumerated() { #expect(slab.value(handle) == index + 1) }
        #expect(slab.count == 1000)
        #expect(slab.bytes <= 1024 * 16)
    }

    @Test("one more than the capacity is refused")
    func capacity() throws {
        let slab = Room(Slab<Int>(capacity: 3))
        let handles = try (0..<3).map { try #require(slab.insert($0)) }
        #expect(slab.insert(3) == nil)
        #expect(slab.remove(handles[1]))
        #expect(slab.insert(3) == nil, "a place is free at the end of the turn")
        slab.reclaim()
        #expect(slab.insert(3) != nil)
    }

    @Test("a reserved slab finds and refuses like any other")
    func reserved() throws {
        let slab = Room(Slab<Int>(reserving: 2) ?? Slab(capacity: 1))
        let one = try #require(slab.insert(1))
        let two = try #require(slab.insert(2))
        #expect(slab.insert(3) == nil)
        #expect(slab.value(one) == 1)
        #expect(slab.value(two) == 2)
    }

    @Test("a value whose end calls the slab does not disturb it")
    func reentrantEnd() throws {
        let slab = Room<Caller>()
        let other = try #require(slab.insert(Caller()))
        var inserted: Handle<Caller>?
        let handle = try #require(
            slab.insert(
                Caller {
                    #expect(slab.remove(other))
                    slab.reclaim()
                    inserted = slab.insert(Caller())
                }))
        #expect(slab.remove(handle))
        slab.reclaim()
        let guest = try #require(inserted, "the value ended with reclaim")
        #expect(slab.contains(guest))
        #expect(!slab.contains(other) && !slab.contains(handle))
        let next = try #require(slab.insert(Caller()))
        #expect(next.slot != guest.slot)
        #expect(slab.count == 2)
    }

    @Test("the end of a slab ends what it holds, live or retired")
    func deinitialization() throws {
        let ends = Ends()
        do {
            let slab = Room<Guest>()
            let handle = try #require(slab.seat(1, ends))
            _ = slab.seat(2, ends)
            #expect(slab.remove(handle))
        }
        #expect(ends.count == 2)
    }

    @Test("handles and nothing: no handle that was given out is ever none")
    func none() throws {
        let slab = Room<Int>()
        #expect(slab.value(.none) == nil)
        let handle = try #require(slab.insert(1))
        #expect(handle != .none)
        #expect(Handle<Int>(token: handle.token) == handle)
        #expect(Handle<Int>.none.token == 0)
        #expect(slab.value(.none) == nil)
    }

    @Test("a walk sees each live value once, also while it removes and inserts")
    func walk() throws {
        let slab = Room(Slab<Int>(initialCount: 2))
        for number in 0..<10 { _ = slab.insert(number) }
        var seen: [Int] = []
        slab.slab.walk { handle, place in
            seen.append(place.value)
            if place.value % 2 == 0 { slab.slab.remove(handle) }
        }
        #expect(seen == Array(0..<10))
        #expect(slab.count == 5)
    }

    @Test("random use against a dictionary", arguments: 0..<8)
    func random(seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let slab = Room(Slab<Int>(capacity: 200, initialCount: 1 + next(8)))
        var model: [Handle<Int>: Int] = [:]
        var gone: [Handle<Int>] = []
        var retired = 0
        for step in 0..<1500 {
            switch next(10) {
            case 0..<5:
                let handle = slab.insert(step)
                #expect((handle != nil) == (model.count + retired < 200))
                if let handle {
                    #expect(model[handle] == nil && !gone.contains(handle))
                    model[handle] = step
                }
            case 5..<8:
                guard let (handle, _) = model.randomElement(next) else { continue }
                #expect(slab.remove(handle))
                model[handle] = nil
                gone.append(handle)
                retired += 1
            case 8:
                slab.reclaim()
                retired = 0
            default:
                if gone.count > 0 { #expect(slab.value(gone[next(gone.count)]) == nil) }
            }
            #expect(slab.count == model.count)
        }
        for (handle, value) in model { #expect(slab.value(handle) == value) }
    }
}

extension Dictionary {
    fileprivate func randomElement(_ next: (Int) -> Int) -> Element? {
        isEmpty ? nil : self[index(startIndex, offsetBy: next(count))]
    }
}
