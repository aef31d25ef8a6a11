// JSON, regular expressions, Buffers, zlib, crypto, child processes and worker threads.
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const crypto = require("crypto");
const zlib = require("zlib");
const { execFileSync } = require("child_process");

function work(seed) {
  let state = seed + 1;
  const draw = (n) => (state = (state * 48271) % 2147483647) % n;
  const rows = [];
  for (let i = 0; i < 5000; i++) rows.push({ id: i, name: "n" + draw(1000), list: [draw(9), draw(99)] });
  const text = JSON.stringify(rows);
  const back = JSON.parse(text);
  const names = text.match(/"n\d*7"/g).length;
  const replaced = text.replace(/"n(\d+)"/g, (_, n) => `"${n * 2}"`);
  const buffers = [];
  for (let i = 0; i < 2000; i++) buffers.push(Buffer.alloc(draw(5000), i & 255));
  const all = Buffer.concat(buffers);
  const packed = zlib.gzipSync(all);
  const hash = crypto.createHash("sha256");
  hash.update(replaced).update(zlib.gunzipSync(packed)).update(JSON.stringify(back.reverse()));
  return [seed, names, all.length, hash.digest("hex")].join(" ");
}

if (!isMainThread) {
  parentPort.postMessage(work(workerData));
} else {
  const results = [];
  const count = Number(process.argv[2]);
  let left = count;
  for (let n = 0; n < count; n++) {
    const worker = new Worker(__filename, { workerData: n });
    worker.on("message", (text) => results.push(text));
    worker.on("exit", (code) => {
      if (code !== 0) results.push("worker ended with " + code);
      if (--left === 0) {
        console.log(results.sort().join("\n"));
        process.exitCode = 3;
      }
    });
  }
  console.log(work(1000));
  console.log(execFileSync("/bin/sh", ["-c", "echo from a shell"]).toString().trim());
}
