import Memory
import Testing

@Suite struct AttachedValuesTests {
    private final class Thing {}

    @Test func thereIsOneOfEachType() {
        let none = AttachedValues()
        #expect(none[Int.self] == nil && none[Thing.self] == nil)
        let thing = Thing()
        let some = none.adding(7).adding("seven").adding(thing)
        #expect(some[Int.self] == 7 && some[String.self] == "seven" && some[Thing.self] === thing)
        #expect(some[UInt.self] == nil && some[Int?.self] == nil)
        let more = some.adding(8).adding(nil as Int?)
        #expect(more[Int.self] == 8 && more[String.self] == "seven")
        #expect(more[Int?.self] == .some(nil))
        // Those that it was copied from stay as they were.
        #expect(some[Int.self] == 7 && none[Int.self] == nil)
    }

    @Test func theyGoWithTheLastThatHasThem() {
        weak var gone: Thing?
        var values: AttachedValues? = {
            let thing = Thing()
            gone = thing
            return AttachedValues().adding(thing).adding(1)
        }()
        #expect(gone != nil && values?[Int.self] == 1)
        values = nil
        #expect(gone == nil)
    }
}
