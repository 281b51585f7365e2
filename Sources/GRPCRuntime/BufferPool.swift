import Bytes
import Memory

/// A buffer that calls use one after the other.
@usableFromInline
final class PooledBuffer {
    @usableFromInline let cell = Cell(ByteBuffer())

    /// Where the bytes lie.
    @usableFromInline var capacity: Int { cell.value.capacity }
    /// Bytes in it.
    var count: Int { cell.value.count }
}

/// Buffers that calls encode into, kept for the next calls: in steady state a call allocates none.
final class BufferPool {
    private static let maximumCount = 256
    /// A buffer that has grown beyond this gives its memory back. Bytes.
    private static let maximumCapacity = 16 << 10
    private let free = Cell([PooledBuffer]())

    func take() -> PooledBuffer { free.value.popLast() ?? PooledBuffer() }

    func giveBack(_ buffer: PooledBuffer) {
        guard free.value.count < Self.maximumCount else { return }
        if buffer.capacity > Self.maximumCapacity {
            buffer.cell.value.release()
        } else {
            buffer.cell.value.removeAll()
        }
        free.value.append(buffer)
    }
}
