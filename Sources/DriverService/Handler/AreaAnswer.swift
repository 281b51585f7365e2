import RideAPI
import RideDomain

/// The answer to `ListDriversInAreas`, bounded in work and in bytes whatever is asked for.
///
/// Areas are answered in their order while there is room. A caller that reads outcomes (`partial`) is told which areas
/// have too many drivers and which were not reached; for any other caller a question that is too large fails as a whole,
/// since an empty area would mean that nobody is there.
struct AreaAnswer {
    private let request: Driver_V1_ListDriversInAreasRequest
    private let maximumBytes: Int
    private let maximumDrivers: Int
    /// Cells and drivers that may still be looked at.
    private var work: Int
    private let allWork: Int
    /// Cells and drivers that were looked at.
    var workDone: Int { allWork - work }

    init(_ request: Driver_V1_ListDriversInAreasRequest, work: Int = DriverLimits.areaWork) {
        self.request = request
        self.work = work
        allWork = work
        maximumBytes = request.partial ? DriverLimits.areaAnswerBytes : DriverLimits.listBytes
        maximumDrivers = request.partial ? request.maxDriversPerArea.map { Int(clamping: $0) } ?? .max - 1 : .max - 1
    }

    /// Puts the answer's areas into `lists`, or says why there is no answer.
    mutating func encode(
        _ registry: inout DriverRegistry, into lists: inout DriverListEncoder
    ) throws(DriverError) {
        lists.beginAreas()
        var isFull = false
        for (number, area) in request.areas.enumerated() {
            let outcome =
                isFull || work <= 0
                ? .notReached : try append(area, isFirst: number == 0, &registry, &lists)
            guard outcome != .unspecified else { continue }
            guard request.partial else { throw Self.tooLarge(after: number) }
            if outcome == .notReached { isFull = true }
            lists.appendArea(outcome)
        }
    }

    /// Adds one area, whole, or says what is in the way.
    private mutating func append(
        _ area: Driver_V1_Box, isFirst: Bool, _ registry: inout DriverRegistry, _ lists: inout DriverListEncoder
    ) throws(DriverError) -> Driver_V1_AreaOutcome {
        let box: Box
        do throws(DriverError) {
            box = try DriverRequests.box(area)
        } catch {
            guard request.partial else { throw error }
            return .failed
        }
        guard let slots = registry.available(in: box, atMost: maximumDrivers, work: &work) else { return .tooMany }
        if lists.appendArea(slots, of: registry, maximumBytes: maximumBytes) { return .unspecified }
        // What does not fit into an answer of its own never will.
        return isFirst ? .tooMany : .notReached
    }

    private static func tooLarge(after number: Int) -> DriverError {
        .tooMany("The answer is too large after \(number) areas; ask for fewer or smaller areas in one request.")
    }
}
