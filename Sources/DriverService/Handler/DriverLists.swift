import Access
import Bytes
import GRPCRuntime
import ProtobufWire
import Reactor
import RideAPI
import RideDomain

/// Answers with lists of drivers. A short one is answered at once; long ones are made one after the other, a portion each turn
/// (`DriverLimits.driversPerTurn`), so that nobody else waits for them and only one of them takes memory. On the loop.
final class DriverLists {
    private typealias Call = UnaryServerCall<Driver_V1_FindAvailableDriversResponse>

    /// Which available drivers are asked for.
    struct Question {
        let query: AreaQuery
        /// nil: of any.
        let category: String?
    }

    /// The long list that is being made.
    private struct LongList: ~Copyable {
        let call: Call
        let view: DriverView
        let found: [FoundDriver]
        var response: Driver_V1_FindAvailableDriversResponse
        var output = ByteBuffer()
        /// The first driver that is not in `output` yet.
        var next = 0
    }

    private let loop: EventLoop
    private let book: DriverBook
    private var whole = DriverListEncoder(.whole)
    private var forStrangers = DriverListEncoder(.stranger)
    /// Those whose answer may be long.
    private var questions: [(call: Call, question: Question)] = []
    /// Questions in front of it have been answered, or are being.
    private var nextQuestion = 0
    private var current: LongList?

    init(loop: EventLoop, book: DriverBook) {
        self.loop = loop
        self.book = book
    }

    /// Long lists that are not answered.
    var waiting: Int { questions.count - nextQuestion + (current == nil ? 0 : 1) }

    func answer(_ call: UnaryServerCall<Driver_V1_FindAvailableDriversResponse>, _ question: Question) {
        if min(question.query.limit, book.registry.availableCount) > DriverLimits.driversPerTurn {
            questions.append((call, question))
            if waiting == 1 { loop.eachTurn { [weak self] in self?.work() ?? false } }
            return
        }
        let (found, response) = find(question)
        loop.charge(2 * found.count)
        withEncoder(Self.view(of: call[Principal.self])) {
            $0.encode(found, of: book.registry, response) { call.respond(encoded: $0) }
        }
    }

    func answer(
        _ call: UnaryServerCall<Driver_V1_ListDriversInAreasResponse>, _ request: Driver_V1_ListDriversInAreasRequest
    ) throws(DriverError) {
        var response = Driver_V1_ListDriversInAreasResponse()
        response.revision = book.registry.revision
        response.asOf = Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds)
        var answer = AreaAnswer(request)
        // Whether it comes to an answer or not.
        defer { loop.charge(answer.workDone / 64) }
        try withEncoder(Self.view(of: call[Principal.self])) { encoder throws(DriverError) in
            try book.ask { registry throws(DriverError) in try answer.encode(&registry, into: &encoder) }
            encoder.endAreas(response) { call.respond(encoded: $0) }
        }
    }

    /// Where access is not restricted everybody sees everything.
    private static func view(of caller: Principal?) -> DriverView { caller?.viewOfDrivers ?? .whole }

    private func withEncoder<Result, Failure: Error>(
        _ view: DriverView, _ body: (inout DriverListEncoder) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        switch view {
        case .whole: try body(&whole)
        // Nobody follows a car by lists.
        case .follower, .stranger: try body(&forStrangers)
        }
    }

    private func find(
        _ question: Question
    ) -> (found: [FoundDriver], response: Driver_V1_FindAvailableDriversResponse) {
        let query = question.query
        let answer = book.findAvailable(in: query.area, limit: query.limit, category: question.category)
        var response = Driver_V1_FindAvailableDriversResponse()
        response.revision = book.registry.revision
        response.asOf = Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds)
        response.truncated = answer.truncated
        return (answer.found, response)
    }

    // MARK: Long lists

    /// One portion. False: nothing is left to do.
    private func work() -> Bool {
        if let list = current.take() { goOn(list) } else { begin() }
        return waiting > 0
    }

    private func goOn(_ list: consuming LongList) {
        if list.call.isCancelled { return }
        let end = min(list.next + DriverLimits.driversPerTurn, list.found.count)
        // Who has been booked since the drivers were looked for is not offered any more.
        let registry = book.registry
        let portion = list.found[list.next..<end].filter { registry[$0.slot].status == .available }
        let fits = withEncoder(list.view) { $0.append(portion[...], of: registry, to: &list.output) }
        list.next = end
        if fits, end < list.found.count {
            current = consume list
            return
        }
        if !fits { list.response.truncated = true }
        list.response.encode(into: &list.output)
        list.call.respond(encoded: list.output.span)
    }

    /// Looks for the drivers of the next question whose caller still waits.
    private func begin() {
        while nextQuestion < questions.count {
            let (call, question) = questions[nextQuestion]
            nextQuestion += 1
            if call.isCancelled { continue }
            let (found, response) = find(question)
            current = LongList(
                call: call, view: Self.view(of: call[Principal.self]), found: found, response: response)
            break
        }
        // Those that are done are forgotten when they are half of all.
        if nextQuestion > questions.count / 2 {
            questions.removeFirst(nextQuestion)
            nextQuestion = 0
        }
    }
}
