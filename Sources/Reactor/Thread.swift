import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread of the system.
struct Thread: Sendable {
    private let handle: pthread_t

    /// Starts `body` on a new thread. `name` (15 bytes) shows in `top -H`.
    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let start = unsafe Unmanaged.passRetained(Start(name, body))
        var handle = pthread_t()
        let outcome = unsafe pthread_create(
            &handle, nil,
            { argument in
                let start = unsafe Unmanaged<Start>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue()
                unsafe clinux_name_thread(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        precondition(outcome == 0, "no thread: \(errorText(outcome))")
        self.handle = handle
    }

    func join() { pthread_join(handle, nil) }

    /// Lets go of a thread that nobody joins.
    func detach() { pthread_detach(handle) }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
            self.body = body
        }
    }
}
