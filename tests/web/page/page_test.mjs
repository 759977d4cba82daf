// The page in a real browser: a picture is dropped, an answer streams, boxes appear over the picture, stop works; languages, themes,
// settings, keyboard, code. Needs Chromium, `npm install` here, and the vl8 binary; exits 77 (skipped) where one is missing.
//
//   node page_test.mjs VL8_BINARY PICTURES_FOLDER [FOLDER_FOR_SCREENSHOTS]
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";

const [binary, pictures, shots] = process.argv.slice(2);
const skip = (why) => { console.log(`skipped: ${why}`); process.exit(77); };
const browser_path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!browser_path) skip("no Chromium");
if (!binary || !existsSync(binary)) skip(`no binary at ${binary}`);
let chromium;
try { ({ chromium } = await import("playwright-core")); } catch { skip("npm install was not run in tests/web/page"); }

const server = spawn(binary, ["serve", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const profile = mkdtempSync(join(tmpdir(), "vl8-page-"));
let browser;
const finish = async (code) => { await browser?.close(); server.kill("SIGTERM"); rmSync(profile, { recursive: true, force: true }); process.exit(code); };
const url = await new Promise((resolve, reject) => {
  let out = "";
  server.stdout.on("data", (d) => { out += d; const m = out.match(/ready: (http:\/\/[^/]+)\//); if (m) resolve(m[1]); });
  server.on("exit", (code) => reject(new Error(`vl8 serve ended with ${code}: ${out}`)));
});

const errors = [];
let context;
async function open(options = {}) {
  context = await chromium.launchPersistentContext(join(profile, String(Math.random())), {
    executablePath: browser_path, headless: true, locale: "en-GB", viewport: { width: 1180, height: 820 }, ...options,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  browser = context;
  const page = context.pages()[0];
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error") errors.push(m.text()); });
  await page.goto(url + "/");
  return page;
}
async function shot(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, name + ".png") });
}

// Drops a file as a person would: the events carry a DataTransfer with the file.
async function drop(page, path, type) {
  const bytes = readFileSync(path).toString("base64");
  const transfer = await page.evaluateHandle(([b64, name, mime]) => {
    const data = Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
    const t = new DataTransfer();
    t.items.add(new File([data], name, { type: mime }));
    return t;
  }, [bytes, path.split("/").pop(), type]);
  await page.dispatchEvent("body", "dragenter", { dataTransfer: transfer });
  await page.locator("#drop").waitFor({ state: "visible" });
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  await page.locator(".attachment").first().waitFor();
}
const answered = (page) => page.locator(".message.assistant[aria-busy=false]").last().waitFor({ timeout: 60000 });

try {
  let page = await open();
  await page.waitForFunction(() => document.getElementById("model").textContent !== "");
  await page.waitForFunction(() => /running/.test(document.getElementById("load").textContent));
  await shot(page, "1-welcome");

  // A picture is dropped and asked about; the answer streams and its boxes lie over the picture.
  await drop(page, join(pictures, "board-tested.jpg"), "image/jpeg");
  await page.fill("#prompt", "Find the defects and answer with boxes in JSON.");
  await page.evaluate(() => {  // how the text grows, to see that it streams
    window.lengths = new Set();
    new MutationObserver(() => { const b = document.querySelector(".message.assistant"); if (b) window.lengths.add(b.textContent.length); })
      .observe(document.getElementById("messages"), { childList: true, subtree: true, characterData: true });
  });
  await page.keyboard.press("Enter");
  await page.locator("#stop").waitFor({ state: "visible" });
  await answered(page);
  assert.ok((await page.evaluate(() => window.lengths.size)) > 3, "the answer grew in several steps");
  const boxes = await page.locator(".message.assistant svg rect").count();
  console.log(`answer: ${(await page.locator(".message.assistant").innerText()).slice(0, 200).replaceAll("\n", " ")} (${boxes} boxes)`);
  assert.ok(boxes > 0, "boxes are drawn over the picture");
  const inside = await page.evaluate(() => {
    const image = document.querySelector(".message.assistant img").getBoundingClientRect();
    return [...document.querySelectorAll(".message.assistant rect")].every((r) => {
      const b = r.getBoundingClientRect();
      return b.width > 2 && b.left >= image.left - 3 && b.right <= image.right + 3 && b.top >= image.top - 3 && b.bottom <= image.bottom + 3;
    });
  });
  assert.ok(inside, "every box lies within the picture");
  assert.match(await page.locator(".figures").innerText(), /tokens\/s/);
  await shot(page, "2-boxes");

  // Code of the request, in three languages.
  await page.click(".as-code");
  for (const tab of ["curl", "Python", "JavaScript"]) {
    await page.click(`#code-tabs >> text=${tab}`);
    assert.match(await page.locator("#code-text").innerText(), /chat[./]completions/);
  }
  await shot(page, "3-code");
  await page.keyboard.press("Escape");

  // An answer under a schema is a tree.
  await page.keyboard.press("Alt+n");
  assert.equal(await page.locator(".message").count(), 0);
  await page.click("#settings-toggle");
  await page.selectOption("#format", "json_schema");
  await page.fill("#format-source", '{"type": "object", "properties": {"answer": {"type": "string", "maxLength": 30}, "sure": {"type": "boolean"}}, "required": ["answer", "sure"], "additionalProperties": false}');
  await page.fill("#max_tokens", "120");
  await drop(page, join(pictures, "block.png"), "image/png");
  await page.fill("#prompt", "Is a screw missing?");
  await page.keyboard.press("Enter");
  await answered(page);
  await page.locator(".tree .key").first().waitFor();
  assert.deepEqual((await page.locator(".tree .key").allInnerTexts()).map((s) => s.trim()), ["answer:", "sure:"]);
  await shot(page, "4-tree");
  await page.click(".tree-toggle");
  assert.match(await page.locator(".message.assistant .body").innerText(), /"answer"/);

  // A schema that is no JSON is refused before anything is sent; one that is not supported is the server's answer.
  await page.fill("#format-source", "{");
  await page.fill("#prompt", "Again");
  await page.focus("#prompt");
  await page.keyboard.press("Enter");
  assert.match(await page.locator("#format-error").innerText(), /not JSON/);
  await page.selectOption("#format", "text");

  // Stop: a long answer is cut short, and the next question works.
  await page.keyboard.press("Alt+n");
  await page.fill("#max_tokens", "20000");
  await page.fill("#temperature", "2");
  await page.selectOption("#format", "regex");
  await page.fill("#format-source", "[a-z ]{50000,60000}");
  await page.fill("#prompt", "Talk");
  await page.focus("#prompt");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => (document.querySelector(".message.assistant .body")?.textContent.length ?? 0) > 20, null, { timeout: 60000 });
  await page.keyboard.press("Escape");
  await answered(page);
  assert.match(await page.locator(".figures").innerText(), /stopped/);
  await shot(page, "5-stopped");
  await page.selectOption("#format", "choice");
  await page.fill("#format-source", "yes\nno");
  await page.click(".regenerate");
  await answered(page);
  assert.match(await page.locator(".message.assistant .body").innerText(), /^(yes|no)$/);

  // Chinese, dark, on a phone.
  await page.click("#language");
  assert.equal(await page.locator("#send").innerText(), "发送");
  await page.keyboard.press("Alt+t");
  await page.keyboard.press("Alt+t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await shot(page, "6-dark-chinese");
  await context.close();
  page = await open({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2, colorScheme: "dark" });
  await page.setInputFiles("#files", join(pictures, "board-tested.jpg"));
  await page.locator(".attachment").first().waitFor();
  await page.fill("#prompt", "Find the defects and answer with boxes in JSON.");
  await page.click("#send");
  await answered(page);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!wide, "nothing is wider than the phone");
  await shot(page, "7-phone");
  await page.click("#settings-toggle");
  await shot(page, "8-phone-settings");
  assert.deepEqual(errors, [], "no errors in the console");
  console.log("page: all passed");
  await finish(0);
} catch (e) {
  console.error(e);
  if (browser) try { await shot(context.pages()[0], "failed"); } catch { /* the page is gone */ }
  console.error("console:", errors);
  await finish(1);
}
