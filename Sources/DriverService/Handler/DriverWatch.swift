import GRPCRuntime
import RideAPI
import RideDomain

/// One stream that watches a driver: their state at once and after each change.
///
/// A reader that is slower than the driver's positions gets the newest state when it can take it, not a backlog.
final class DriverWatch {
    private typealias Call = ServerStreamingServerCall<Driver_V1_WatchDriverResponse>

    private let call: Call
    private let book: DriverBook
    private var token: DriverWatchers.Token?
    /// The newest state, while it could not be sent.
    private var held: Driver?

    static func begin(
        _ driverID: String, _ book: DriverBook, _ call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>
    ) {
        do throws(DriverError) {
            let (slot, driver) = try book.find(driverID)
            if let refusal = book.refusal(of: slot) { throw refusal }
            let watch = DriverWatch(call, book)
            watch.token = book.watchers.add(slot) { watch.tell($0) }
            guard watch.token != nil else {
                throw .tooMany("\(DriverLimits.watchers) streams watch drivers already; try again later.")
            }
            call.onCancel = { watch.end() }
            call.onWritable = { watch.sendHeld() }
            call.send(Driver_V1_WatchDriverResponse(driver))
        } catch {
            call.fail(error.rpcError)
        }
    }

    private init(_ call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>, _ book: DriverBook) {
        self.call = call
        self.book = book
    }

    private func tell(_ news: Result<Driver, DriverError>?) {
        let driver: Driver
        switch news {
        case .success(let state): driver = state
        case .failure(let error):
            call.fail(error.rpcError)
            return end()
        case nil:
            call.fail(RPCError(code: .unavailable, message: "The driver service is ending; watch again."))
            return end()
        }
        if call.isWritable { call.send(Driver_V1_WatchDriverResponse(driver)) } else { held = driver }
    }

    private func sendHeld() {
        guard let driver = held, call.isWritable else { return }
        held = nil
        call.send(Driver_V1_WatchDriverResponse(driver))
    }

    private func end() {
        if let token { book.watchers.remove(token) }
        token = nil
        // Only the closures keep this watch alive.
        call.onCancel = nil
        call.onWritable = nil
    }
}
