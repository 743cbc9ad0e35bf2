// Runs beside the sound hardware: gathers the microphone's samples into blocks of 16-bit mono.

const BLOCK_S = 0.04;

class Gather extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(BLOCK_S * sampleRate);
    this.block = new Int16Array(this.size);
    this.filled = 0;
    this.running = true; // else it would run for ever, also with nothing connected
    this.port.onmessage = () => (this.running = false);
  }

  process([channels]) {
    const count = channels.length;
    if (!count) return this.running; // the microphone is not connected yet
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = Math.max(-1, Math.min(1, sum / count)) * 32767;
      if (this.filled === this.size) {
        const endS = (currentFrame + i + 1) / sampleRate;
        this.port.postMessage({ endS, block: this.block }, [this.block.buffer]);
        this.block = new Int16Array(this.size);
        this.filled = 0;
      }
    }
    return this.running;
  }
}

registerProcessor("gather", Gather);
