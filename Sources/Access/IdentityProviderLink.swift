import HTTPClient
import Reactor

/// The way from all loops of a program to the provider where people sign in, which is asked on one. Thread-safe.
public struct IdentityProviderLink: Sendable {
    private let provider: LoopBound<IdentityProvider>
    /// As they were at start.
    public let settings: IdentityProviderSettings

    /// On the thread that made the loop, before it runs.
    /// - Throws: `TLSError` if the system's certificates can't be read.
    public init(_ settings: IdentityProviderSettings, loop: EventLoop) throws(TLSError) {
        let client = HTTPClient(loop: loop, tls: try TLSClientContext(), userAgent: "cabstand")
        self.init(IdentityProvider(loop: loop, settings: settings, client: client), settings, loop: loop)
    }

    /// To a provider that is there already.
    public init(_ provider: IdentityProvider, _ settings: IdentityProviderSettings, loop: EventLoop) {
        self.settings = settings
        self.provider = LoopBound(provider, loop: loop)
    }

    /// Asks the provider for what it says of itself. Once.
    public func start() { provider.loop.submit { [provider] in provider.value.start() } }

    /// Another secret counts from now on.
    public func use(secret: String?) { provider.loop.submit { [provider] in provider.value.use(secret: secret) } }

    /// Asks no more.
    public func close() { provider.loop.submit { [provider] in provider.value.close() } }

    /// Where a browser is sent to sign in.
    public func address(for pending: PendingSignIn) async throws(SignInFailure) -> String {
        try await ask { (provider) async throws(SignInFailure) in try await provider.address(for: pending) }
    }

    /// Who has signed in, by an answer whose state is that of `pending`.
    public func person(
        of answer: IdentityProvider.Answer, to pending: PendingSignIn
    ) async throws(SignInFailure) -> SignedInPerson {
        try await ask { (provider) async throws(SignInFailure) in try await provider.person(of: answer, to: pending) }
    }

    private func ask<Value: Sendable>(
        _ question: @escaping @Sendable (IdentityProvider) async throws(SignInFailure) -> Value
    ) async throws(SignInFailure) -> Value {
        let result: Result<Value, SignInFailure> = await withCheckedContinuation { continuation in
            provider.loop.submit { [provider] in
                provider.loop.start {
                    do throws(SignInFailure) {
                        continuation.resume(returning: .success(try await question(provider.value)))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        }
        return try result.get()
    }
}
