/* libnvidia-ml.so.1 of a machine without NVIDIA's driver: answers what the file NVML_FACTS says, one `name number` a line.
   A name that is not there is an error of that reading alone (NVML_ERROR_NOT_SUPPORTED, 3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FACTS
#error "FACTS: the path of the file"
#endif

static int fact(const char *name, unsigned long long *value) {
    char line[128], found[64];
    FILE *file = fopen(FACTS, "r");
    if (!file) return 3;
    int code = 3;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %llu", found, value) == 2 && !strcmp(found, name)) { code = 0; break; }
    fclose(file);
    return code;
}

static int word(const char *name, unsigned int *out) {
    unsigned long long value = 0;
    int code = fact(name, &value);
    *out = (unsigned int)value;
    return code;
}

static int opened = 0, fell = 0; /* off the bus: until the library is opened anew */
int nvmlInitWithFlags(unsigned int flags) {
    unsigned int code = 0;
    if (!word("init", &code)) return (int)code;
    opened++;
    return 0;
}
int nvmlShutdown(void) { opened--; fell = 0; return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "versions differ" : "Not Supported"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { return word("count", count); }
static int handle(void **device) {
    unsigned int lost;
    if (!word("lost", &lost)) fell = 1;
    if (fell) return 15; /* NVML_ERROR_GPU_IS_LOST */
    *device = &opened;
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { return handle(device); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) { return handle(device); }
int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    strncpy(name, "NVIDIA Test 4090", length);
    return 0;
}
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *out) { return word("temperature", out); }
int nvmlDeviceGetTemperatureThreshold(void *device, int which, unsigned int *out) { return word("slowdown", out); }
int nvmlDeviceGetPowerUsage(void *device, unsigned int *out) { return word("power_mw", out); }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *out) { return fact("energy_mj", out); }
int nvmlDeviceGetClockInfo(void *device, int which, unsigned int *out) { return word("clock", out); }
int nvmlDeviceGetFanSpeed(void *device, unsigned int *out) { return word("fan", out); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *out) { return fact("reasons", out); }
int nvmlDeviceGetUtilizationRates(void *device, unsigned int rates[2]) { return word("load", &rates[0]); }
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long sizes[3]) {
    sizes[0] = 24000000000ull;
    return fact("memory", &sizes[2]);
}
