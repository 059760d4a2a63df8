// Tells how undici, as Node's fetch, reads each of some answers.
const [base, count] = process.argv.slice(2);
for (let i = 0; i < Number(count); i++) {
  let read = {};
  try {
    const response = await fetch(`${base}/${i}`, {redirect: 'manual', headers: {connection: 'close'}});
    const body = Buffer.from(await response.arrayBuffer()).toString('base64');
    read = {status: response.status, check: response.headers.get('x-check') ?? '', body};
  } catch {
  }
  console.log(JSON.stringify(read));
}
