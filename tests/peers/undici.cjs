// undici with ten requests on the way on one connection; exits non-zero on a wrong answer.
const { Client } = require("undici");

const client = new Client(`http://${process.argv[2]}`, { pipelining: 10 });
let deepest = 0;

async function call(method, path, body) {
  // undici holds back what it thinks unsafe to pipeline, PUT among it, unless it is told better.
  const request = client.request({ method, path, body, idempotent: true, blocking: false });
  deepest = Math.max(deepest, client.stats.running);
  const response = await request;
  return [response.statusCode, await response.body.text()];
}

async function worker(name) {
  for (let n = 0; n < 200; n++) {
    const value = `${name} ${n} `.repeat(1 + ((n * 37) % 100));
    const [stored] = await call("PUT", `/${name}`, value);
    if (stored !== (n === 0 ? 201 : 204)) throw new Error(`${name} ${n}: stored ${stored}`);
    const [found, text] = await call("GET", `/${name}`);
    if (found !== 200 || text !== value) throw new Error(`${name} ${n}: ${found} ${text}`);
    const [missed, nothing] = await call("GET", `/${name}-missing`);
    if (missed !== 404 || nothing !== "") throw new Error(`${name} ${n}: ${missed} ${nothing}`);
  }
}

let connections = 0;
client.on("connect", () => connections++);
Promise.all(Array.from({ length: 10 }, (_, n) => worker(`w${n}`)))
  .then(async () => {
    await client.close();
    if (deepest < 2) throw new Error(`never more than ${deepest} on the way: not pipelined`);
    if (connections !== 1) throw new Error(`${connections} connections instead of one`);
    console.log(`6000 right answers, up to ${deepest} on the way`);
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
