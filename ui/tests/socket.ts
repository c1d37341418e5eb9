// In place of the browser's WebSocket, for component tests: what the page says is kept, what the plane says is told to it.
export class Socket {
  static readonly OPEN = 1;
  static all: Socket[] = [];
  readonly url: string;
  readonly protocol: string;
  readyState = Socket.OPEN;
  binaryType = '';
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: (() => void) | null = null;
  /** Channel and text of each message of the page. */
  said: [number, string][] = [];

  constructor(url: string, protocol: string) {
    this.url = decodeURIComponent(url);
    this.protocol = protocol;
    Socket.all.push(this);
  }

  send(bytes: Uint8Array): void {
    this.said.push([bytes[0] ?? -1, new TextDecoder().decode(bytes.slice(1))]);
  }

  close(): void {
    this.readyState = 3;
  }

  /** As the plane says it. */
  say(channel: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const message = new Uint8Array(bytes.length + 1);
    message[0] = channel;
    message.set(bytes, 1);
    this.onmessage?.({ data: message.buffer });
  }

  /** As the plane goes. */
  end(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}
