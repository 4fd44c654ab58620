import { createSocket } from 'node:dgram';

/** Somebody who plays in a sample room of this machine, and whom it hears as long as he stays. */
export class Player {
  private readonly socket = createSocket('udp4');
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly port: number) {
    this.say('join ann');
    // The first datagram may be lost, and who says nothing is taken for gone; in the game already, joining again is no harm.
    this.timer = setInterval(() => this.say('join ann'), 500);
  }

  leave(): void {
    clearInterval(this.timer);
    this.socket.send('leave', this.port, '127.0.0.1', () => this.socket.close());
  }

  private say(text: string): void {
    this.socket.send(text, this.port, '127.0.0.1', () => undefined);
  }
}
