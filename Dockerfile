# The reference server. Its image holds target_app and what that imports, nothing that measures it.
FROM python:3.12-slim AS packages
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.12-slim
COPY --from=packages /venv /venv
WORKDIR /app
COPY target_app target_app
RUN useradd --system --no-create-home server
USER server
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TARGET_HOST=0.0.0.0
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
# In exec form, so that the server is PID 1 and gets the signal to stop itself.
ENTRYPOINT ["python", "-m", "target_app"]
